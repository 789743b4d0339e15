"""The contract of a task: what is built, how it learns, what it answers; and where a task is found by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ..errors import InvalidInput
from .schema import Schema
from .signature import Columns

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows: `inputs` as `encode` made them, each (rows, …), and `target` (rows,), or (rows, labels or steps).

    `weight` (rows,), where there is one, is what each row's loss is multiplied by before the mean is taken.
    """

    inputs: Inputs
    target: Tensor
    weight: Tensor | None = None


def quantile_levels(module: nn.Module) -> tuple[float, ...]:
    """The levels of the quantiles that a module's task predicts, from its buffer `levels` or that of its objective."""
    levels = getattr(module, "levels", getattr(getattr(module, "objective", None), "levels", None))
    return tuple(levels.tolist()) if isinstance(levels, Tensor) else ()


@runtime_checkable
class Task(Protocol):
    """What is trained. All four are pure: equal arguments give equal answers, and nothing is kept in between."""

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """A new module; what it needs to scale its inputs is part of it, as buffers."""
        ...

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """Turn the feature columns, arrays (rows,) or (rows, width), into the module's tensors, each (rows, …)."""
        ...

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch, a scalar."""
        ...

    def predict(self, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """`probabilities` (rows, classes or labels); or `prediction` (rows,) or (rows, steps), maybe `quantiles`."""
        ...


BUILT_IN: Mapping[str, tuple[str, str]] = {
    "tabular": (".tabular", "TabularTask"),
    "image": (".image", "ImageTask"),
    "sequence": (".sequence", "SequenceTask"),
    "forecast": (".forecast", "ForecastTask"),
}
"""Where each built-in task lies; one is imported only when it is asked for."""


def find_task(use: str, folder: Path | None = None) -> Task:
    """The task that a project's `task.use` names; `folder` is where a `module:Class` may lie.

    Raises InvalidInput where there is none, or where it lacks a method.
    """
    if use in BUILT_IN:
        place, name = BUILT_IN[use]
        built_in: Task = getattr(importlib.import_module(place, __package__), name)()
        return built_in
    module_name, _, class_name = use.partition(":")
    if not module_name or not class_name:
        raise InvalidInput(f"task.use = {use!r}: it must be {', '.join(BUILT_IN)}, or module:Class")
    if folder is not None:
        _import_from(folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"task.use = {use!r}: no module {error.name!r} beside the project file") from None
    if not hasattr(module, class_name):
        raise InvalidInput(f"task.use = {use!r}: module {module_name!r} has no class {class_name!r}")
    task = getattr(module, class_name)()
    if not isinstance(task, Task):
        missing = [name for name in ("build", "encode", "loss", "predict") if not hasattr(task, name)]
        raise InvalidInput(f"task.use = {use!r}: the class lacks {', '.join(missing)}")
    return task


_folders: list[Path] = []


def _import_from(folder: Path) -> None:
    """Put `folder` first, and forget modules of earlier ones: two versions may hold the same name with other code."""
    folder = folder.absolute()
    for earlier in [known for known in _folders if known != folder]:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{earlier}/"):
                del sys.modules[name]
        sys.path.remove(str(earlier))
        _folders.remove(earlier)
    if folder not in _folders:
        sys.path.insert(0, str(folder))
        _folders.append(folder)
    importlib.invalidate_caches()
