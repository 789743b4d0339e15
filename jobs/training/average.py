"""A moving average of a module's parameters, and the module under it for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follows the parameters after each step; buffers are the module's own."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._names = [name for name, _ in module.named_parameters()]
        self._live = [parameter for _, parameter in module.named_parameters()]
        self._mean = [parameter.detach().clone() for parameter in self._live]

    def follow(self) -> None:
        """Take one step's weights in."""
        with torch.no_grad():
            torch._foreach_lerp_(self._mean, list(self._live), 1 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the module has the average for its parameters."""
        kept = [parameter.detach().clone() for parameter in self._live]
        self._set(self._mean)
        try:
            yield
        finally:
            self._set(kept)

    def state(self) -> dict[str, Tensor]:
        """The average by the parameters' names."""
        return dict(zip(self._names, self._mean, strict=True))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from an earlier `state()`."""
        with torch.no_grad():
            for name, mean in zip(self._names, self._mean, strict=True):
                mean.copy_(state[name])

    def _set(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._live, values, strict=True):
                parameter.copy_(value)
