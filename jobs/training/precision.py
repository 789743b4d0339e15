"""Chooses how a GPU multiplies float32 numbers: as they are, or rounded to TF32's ten bits on tensor cores."""

from __future__ import annotations

import warnings

import torch


def set_tf32(is_allowed: bool) -> None:
    """For products of matrices and for convolutions, in this process; torch itself allows it for convolutions alone."""
    torch.set_float32_matmul_precision("high" if is_allowed else "highest")
    with warnings.catch_warnings():
        # torch 2.9 to 2.12 name a newer setting here; its compiler reads this one, and refuses a mix of both.
        warnings.simplefilter("ignore")
        torch.backends.cudnn.allow_tf32 = is_allowed
