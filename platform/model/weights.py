"""Owns how much each row counts in a loss, by its class; it knows no task."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_weights(codes_N: Tensor, num_classes: int) -> Tensor:
    """Weights (N,) by which every class counts alike: rows by (classes that occur times rows of the row's class).

    Their mean is 1, so that a learning rate means the same with them. Source: scikit-learn's `class_weight="balanced"`.

    >>> balanced_weights(torch.tensor([0, 0, 0, 1]), 2).tolist()
    [0.6666666865348816, 0.6666666865348816, 0.6666666865348816, 2.0]
    """
    return weights_by_class(torch.bincount(codes_N, minlength=num_classes))[codes_N]


def weights_by_class(counts_K: Tensor) -> Tensor:
    """The same by class (classes,), of the rows of each: what each row of a class counts."""
    return int(counts_K.sum()) / (int((counts_K > 0).sum()) * counts_K.to(torch.float32).clamp(min=1.0))
