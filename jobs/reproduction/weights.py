"""How far two sets of weights are apart, tensor by tensor, and where two trainings parted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Outcome = Literal["bit-exact", "within tolerance", "differs"]
LABEL_TOLERANCE = 1e-5
"""What is called within tolerance where no tolerance was given; it is no success then."""


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor that is not the same in both; differences are None where the shapes or the types are not either."""

    name: str
    max_abs: float | None
    max_rel: float | None
    values: int
    """How many values differ."""
    reason: str = ""


def compare_weights(then: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> list[TensorDifference]:
    """Every tensor whose bits differ, in order of name.

    >>> compare_weights({"w": torch.zeros(2)}, {"w": torch.tensor([0.0, 0.5])})[0].max_abs
    0.5
    >>> compare_weights({"w": torch.zeros(2)}, {"w": torch.zeros(2)})
    []
    """
    found = []
    for name in sorted(then.keys() | now.keys()):
        if name not in now or name not in then:
            reason = "is not there now" if name not in now else "was not there then"
            found.append(TensorDifference(name, None, None, 0, reason))
        elif (difference := _compare(name, then[name], now[name])) is not None:
            found.append(difference)
    return found


def judge(differences: Sequence[TensorDifference], tolerance: float) -> Outcome:
    """The word for a comparison; `tolerance` bounds the absolute difference of every value."""
    if not differences:
        return "bit-exact"
    within = all(found.max_abs is not None and found.max_abs <= tolerance for found in differences)
    return "within tolerance" if within else "differs"


def first_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> int | None:
    """The first epoch after which the weights differ, by the hashes that each training took; 0 before any step.

    None where all hashes that both have are the same, or where one has none.
    """
    if then.get("initial") and now.get("initial") and then["initial"] != now["initial"]:
        return 0
    pairs = zip(then.get("epochs", []), now.get("epochs", []), strict=False)
    known = [(one, other) for one, other in pairs if one["sha256"] and other["sha256"]]
    return next((int(one["epoch"]) for one, other in known if one["sha256"] != other["sha256"]), None)


def _compare(name: str, then: Tensor, now: Tensor) -> TensorDifference | None:
    then, now = then.detach().cpu().contiguous(), now.detach().cpu().contiguous()
    if then.shape != now.shape or then.dtype != now.dtype:
        was, is_now = f"{then.dtype} {tuple(then.shape)}", f"{now.dtype} {tuple(now.shape)}"
        return TensorDifference(name, None, None, 0, f"was {was}, is {is_now}".replace("torch.", ""))
    if not then.numel() or torch.equal(_bytes(then), _bytes(now)):
        return None
    before, after = then.to(torch.float64), now.to(torch.float64)
    apart = (before - after).abs()
    values = int((_bytes(then).reshape(then.numel(), -1) != _bytes(now).reshape(then.numel(), -1)).any(dim=1).sum())
    if not torch.isfinite(apart).all():
        return TensorDifference(name, None, None, values, "holds NaN or infinite values")
    relative = apart / torch.maximum(before.abs(), after.abs()).clamp_min(torch.finfo(torch.float64).tiny)
    return TensorDifference(name, float(apart.max()), float(relative.max()), values)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)
