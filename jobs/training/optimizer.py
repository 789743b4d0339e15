"""One step of the weights: optimizer, learning rate, scaled gradients, clipping; it computes no loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .plan import Plan

PLATEAU_EPOCHS = 3  # epochs without a better metric after which `plateau` halves the learning rate


def rate_factor(plan: Plan, step: int, steps: int) -> float:
    """What the learning rate is multiplied by in a step, counted from 0, of `steps` in all."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    if plan.schedule in ("constant", "plateau"):
        return 1.0
    done = min(1.0, (step - plan.warmup_steps) / max(1, steps - plan.warmup_steps))
    return 1 - done if plan.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


class Optimizer:
    """Applies gradients to parameters."""

    def __init__(self, parameters: Iterable[nn.Parameter], plan: Plan, device: torch.device) -> None:
        self._plan = plan
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.torch = _make(self._parameters, plan)
        self.scaler = torch.amp.GradScaler(device.type, enabled=plan.precision == "fp16")
        self.plateau_factor = 1.0
        self._factor = 1.0

    def clear(self) -> None:
        """Forget all gradients."""
        self.torch.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients."""
        (self.scaler.scale(loss) if self.scaler.is_enabled() else loss).backward()  # type: ignore[no-untyped-call]

    def apply(self, step: int, steps: int) -> None:
        """Change the weights by the gradients, as is due in a step."""
        self._set_factor(rate_factor(self._plan, step, steps) * self.plateau_factor)
        if self._plan.clip_norm is not None:
            self.scaler.unscale_(self.torch)
            nn.utils.clip_grad_norm_(self._parameters, self._plan.clip_norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.torch)
            self.scaler.update()
        else:
            self.torch.step()

    def see_epochs_without_better(self, epochs: int) -> None:
        """Halve the learning rate where the plan says so."""
        if self._plan.schedule == "plateau" and epochs and epochs % PLATEAU_EPOCHS == 0:
            self.plateau_factor /= 2

    def rest(self) -> dict[str, Any]:
        """What is to be kept beside the state of torch's own optimizer."""
        return {"scaler": self.scaler.state_dict(), "plateau_factor": self.plateau_factor}

    def restore_rest(self, rest: Mapping[str, Any]) -> None:
        """Go on from an earlier `rest()`."""
        self.scaler.load_state_dict(rest["scaler"])
        self.plateau_factor = rest["plateau_factor"]
        self._factor = math.nan  # the next step sets it

    def _set_factor(self, factor: float) -> None:
        if factor != self._factor:
            for group in self.torch.param_groups:
                group["lr"] = self._plan.learning_rate * factor
            self._factor = factor


def _make(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    """The fused kernel, a tenth of a small model's step faster; torch lacks that of sgd for parted parameters."""
    fused = plan.optimizer != "sgd" or plan.strategy != "fsdp"
    shared: dict[str, Any] = {"lr": plan.learning_rate, "weight_decay": plan.weight_decay, "fused": fused}
    if plan.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=plan.momentum, **shared)
    return torch.optim.AdamW(parameters, **shared)
