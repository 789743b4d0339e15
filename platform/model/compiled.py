"""Compiles the module of a loaded model by torch.compile, and leaves it as it was where that does not work."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .signature import Columns

# From the second number of rows on torch compiles for any number, but for 1, which it compiles apart.
TRIED_ROWS = (2, 3, 1)


class Compilable(Protocol):
    """A model that calls a torch module."""

    @property
    def module(self) -> nn.Module:
        """What is compiled, in place."""
        ...

    def predict(self, columns: Columns) -> dict[str, NDArray[np.generic]]: ...

    def example(self, rows: int) -> dict[str, NDArray[np.generic]]: ...


def compile_module(model: Compilable) -> str:
    """Compile the model's module in place and try it; returns why it runs uncompiled, or nothing where it is compiled.

    The first predictions compile, which takes from seconds to a minute; later ones take any number of rows.
    """
    module = getattr(model, "module", None)
    if not isinstance(module, nn.Module):
        return "it has no torch module"
    plain = module.forward

    def forward(*inputs: Any, **named: Any) -> Any:
        """A frame of ours: torch skips those of its own modules, such as Sequential."""
        return plain(*inputs, **named)

    module.forward = torch.compile(forward, dynamic=True)
    try:
        for rows in TRIED_ROWS:
            model.predict(model.example(rows))
    except Exception as error:  # a missing compiler, or a module that torch can't trace: anything may come
        del module.forward
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return " ".join([f"{type(error).__name__}:", *lines[:2]])  # torch wraps what it caught; the rest is advice
    return ""
