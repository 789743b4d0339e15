"""The model that every peer serves: scaling and a 30-64-2 perceptron out of rayloop's own safetensors file.

MODEL_WEIGHTS names the file, MODEL_MATHS says who computes: `torch` or `numpy`. It knows no server and no rayloop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

Forward = Callable[[Any], list[list[float]]]

# N = rows, F = features, H = hidden units, K = classes


def load() -> Forward:
    """A function from rows (N, F) to probabilities (N, K), both lists of lists."""
    path = os.environ["MODEL_WEIGHTS"]
    return with_torch(path) if os.environ.get("MODEL_MATHS") == "torch" else with_numpy(path)


def with_numpy(path: str) -> Forward:
    """The model in NumPy, float32."""
    from safetensors.numpy import load_file

    weights = load_file(path)
    mean_F, std_F = weights["numbers.mean_F"], weights["numbers.std_F"]
    first_FH, first_H = weights["layers.0.weight"].T.copy(), weights["layers.0.bias"]
    last_HK, last_K = weights["layers.3.weight"].T.copy(), weights["layers.3.bias"]

    def forward(rows_NF: Any) -> list[list[float]]:
        scaled_NF = (np.asarray(rows_NF, dtype=np.float32) - mean_F) / std_F
        scores_NK = np.maximum(scaled_NF @ first_FH + first_H, 0) @ last_HK + last_K
        powers_NK = np.exp(scores_NK - scores_NK.max(axis=1, keepdims=True))
        shares: list[list[float]] = (powers_NK / powers_NK.sum(axis=1, keepdims=True)).tolist()
        return shares

    return forward


def with_torch(path: str) -> Forward:
    """The model in torch, float32, on one thread."""
    import torch
    from safetensors.torch import load_file
    from torch.nn import functional

    torch.set_num_threads(1)
    weights = load_file(path)
    mean_F, std_F = weights["numbers.mean_F"], weights["numbers.std_F"]
    first, last = ((weights[f"layers.{place}.weight"], weights[f"layers.{place}.bias"]) for place in (0, 3))

    def forward(rows_NF: Any) -> list[list[float]]:
        with torch.inference_mode():
            scaled_NF = (torch.tensor(rows_NF, dtype=torch.float32) - mean_F) / std_F
            scores_NK = functional.linear(torch.relu(functional.linear(scaled_NF, *first)), *last)
            shares: list[list[float]] = torch.softmax(scores_NK, dim=1).tolist()
        return shares

    return forward
