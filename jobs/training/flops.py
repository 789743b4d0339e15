"""How much arithmetic a step is, and which share of the device's peak a training reaches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...platform.model.task import Batch, Task
from .parallel import is_sharded

NO_TF32 = frozenset({"V100", "T4"})  # older than Ampere
# Dense peaks in 1e12 operations a second, by NVIDIA's data sheets: half precision on tensor cores, and plain float32.
PEAKS: Mapping[str, tuple[float, float]] = {
    "B200": (2250.0, 75.0),
    "H200": (989.0, 67.0),
    "H100 PCIe": (756.0, 51.0),
    "H100": (989.0, 67.0),
    "A100": (312.0, 19.5),
    "L40S": (362.0, 91.6),
    "L4": (121.0, 30.3),
    "A10G": (70.0, 31.2),
    "A10": (125.0, 31.2),
    "A40": (149.7, 37.4),
    "A30": (165.0, 10.3),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.0, 35.6),
}


def flops_per_row(task: Task, module: nn.Module, batch: Batch) -> float | None:
    """Operations of one row's forward and backward pass; None where it can't be run on shapes alone, or is parted.

    A copy on the meta device is counted, so no number is computed, no random number drawn, and no buffer changed.
    """
    if is_sharded(module):  # each pass takes all ranks, and one alone asks
        return None
    try:
        shapes = copy.deepcopy(module)
        shapes.__dict__.pop("forward", None)  # the compiled one, which is bound to the original
        shapes.to("meta")
        inputs = {name: tensor.to("meta") for name, tensor in batch.inputs.items()}
        with FlopCounterMode(display=False) as counter, torch.device("meta"):
            task.loss(shapes, Batch(inputs, batch.target.to("meta"))).backward()  # type: ignore[no-untyped-call]
        total = counter.get_total_flops()
    except Exception:  # a user's module may do anything, and this is a measure, not the training
        return None
    return total / len(batch.target) if total else None


def peak_flops(device_name: str | None, precision: str, tf32: bool = False) -> float | None:
    """The device's dense peak a second at a precision; None on CPU and for a GPU that the table doesn't know.

    TF32 has half the peak of bf16, on every GPU that knows it.
    """
    if device_name is None:
        return None
    for name, (half, single) in PEAKS.items():
        if name in device_name.replace("-", " "):
            if precision != "fp32":
                return 1e12 * half
            return 1e12 * (half / 2 if tf32 and name not in NO_TF32 else single)
    return None


def utilisation(flops: float | None, rows_per_s: float, peak: float | None, devices: int) -> float | None:
    """Model FLOPs utilisation, 0 to 1. Source: Chowdhery et al. (2022), "PaLM", section 4.1."""
    if flops is None or peak is None:
        return None
    return flops * rows_per_s / (peak * devices)


def device_name(device: Any) -> str | None:
    """The GPU's name, or None for a CPU."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None
