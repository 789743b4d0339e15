"""Makes equal trainings give equal bits: on CPU as a rule, on GPU where it is asked for and worth its price."""

from __future__ import annotations

import os
from typing import Literal

import torch

Wish = Literal["auto"] | bool
WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def is_deterministic(wish: Wish, device_type: str) -> bool:
    """What `train.deterministic` means on a device: `auto` is true on CPU, false on GPU."""
    return device_type == "cpu" if wish == "auto" else bool(wish)


def set_determinism(wish: Wish, device: torch.device) -> bool:
    """Choose torch's algorithms for this process, before the first one runs; returns whether they are deterministic.

    An operation without a deterministic form raises then, and names itself.
    """
    chosen = is_deterministic(wish, device.type)
    if chosen and device.type == "cuda":
        # cuBLAS reads it when it is first used; without it torch refuses matrix products.
        os.environ.setdefault(WORKSPACE_VARIABLE, ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = chosen
    # Not `use_deterministic_algorithms`: it imports the compiler, most of a second, which `compile` alone needs.
    torch.set_deterministic_debug_mode("error" if chosen else "default")
    return chosen
