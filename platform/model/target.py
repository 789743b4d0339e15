"""Owns the column to predict: its classes, its labels, or the numbers that scale it; and how its values are encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..project import Project
from .columns import LARGEST, array_shape, is_finite, is_list, is_text, to_float32, to_numpy
from .feature import datatype_of, scale
from .signature import ColumnSpec, Datatype

MAX_CLASSES = 1_000


@dataclass(frozen=True, slots=True)
class Target:
    """The column to predict: its classes in order, or the numbers that scale it.

    With `is_multilabel` the classes are labels, any of which a row may have. `quantiles` are the levels that are
    predicted besides; `steps` is above 1 where a row's target is as many values, one after the other.
    """

    name: str
    datatype: Datatype
    classes: tuple[str | int | bool, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    is_multilabel: bool = False
    quantiles: tuple[float, ...] = ()
    steps: int = 1

    @property
    def is_classes(self) -> bool:
        """True where each row is of exactly one class."""
        return bool(self.classes) and not self.is_multilabel

    @property
    def outputs(self) -> tuple[ColumnSpec, ...]:
        """The columns that a served model gives."""
        width = len(self.classes)
        if self.is_multilabel:
            return ColumnSpec("prediction", "BOOL", width), ColumnSpec("probabilities", "FP32", width)
        if self.classes:
            return ColumnSpec("prediction", self.datatype), ColumnSpec("probabilities", "FP32", width)
        value = ColumnSpec("prediction", "FP64", self.steps)
        if not self.quantiles:
            return (value,)
        return value, ColumnSpec("quantiles", "FP64", self.steps * len(self.quantiles))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """The target of `to_dict`, also after a trip through JSON."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)

    def encode(self, values: pa.ChunkedArray) -> NDArray[np.generic]:
        """Class numbers (rows,) int64; labels (rows, labels) or values (rows,) or (rows, steps) in float32.

        Raises InvalidInput for a class or a label that training never saw, and for a value that is not finite.
        """
        if self.is_multilabel:
            return self._labels(values)
        if not self.classes:
            numbers = to_numpy(values)
            if self.steps > 1:
                return to_float32(numbers).reshape(len(values), self.steps)
            if not is_list(values.type):
                _require_finite(self.name, numbers)
            return to_float32(numbers).reshape(len(values))
        codes: NDArray[np.generic] = self._places(values).astype(np.int64)
        return codes

    def _labels(self, values: pa.ChunkedArray) -> NDArray[np.generic]:
        rows = len(values)
        if pa.types.is_boolean(values.type.value_type):
            shape = array_shape(self.name, values) if rows else (len(self.classes),)
            if shape != (len(self.classes),):
                raise InvalidInput(f"target {self.name!r} has {shape[0]} labels here, but {len(self.classes)} before")
            return to_numpy(values).reshape(rows, len(self.classes))
        marks = np.zeros((rows, len(self.classes)), dtype=np.float32)
        whole = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
        places = self._places(pa.chunked_array([pc.list_flatten(whole)]))
        marks[pc.list_parent_indices(whole).to_numpy(), places] = 1.0
        return marks

    def _places(self, values: pa.ChunkedArray) -> NDArray[np.generic]:
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        word = "label" if self.is_multilabel else "class"
        try:
            known = pa.array(self.classes, type=values.type)
        except (pa.ArrowException, TypeError):
            first = self.classes[0]
            plural = "labels" if self.is_multilabel else "classes"
            raise InvalidInput(
                f"target {self.name!r} has type {values.type} here, but {plural} such as {first!r} in training"
            ) from None
        indices = pc.index_in(values, value_set=known)
        if indices.null_count:
            row = pc.index(pc.is_null(indices), True).as_py()
            raise InvalidInput(f"target {self.name!r} has the {word} {values[row].as_py()!r}, which training never saw")
        places: NDArray[np.generic] = indices.to_numpy()
        return places


def fit_target(project: Project, values: pa.ChunkedArray) -> Target:
    """Learn the target from training rows. Raises InvalidInput where the project's kind of task can't have it."""
    name, task = project.data.target, project.task
    levels = quantile_levels(task.params.get("quantiles", ()))
    if levels and task.kind != "regression":
        raise InvalidInput(f"task.params.quantiles needs task.kind regression, and it is {task.kind}")
    if task.kind == "regression":
        return _numbers(name, values, levels)
    return _labels(name, values) if task.kind == "multilabel" else _classes(name, values)


def quantile_levels(given: object) -> tuple[float, ...]:
    """The levels of `task.params.quantiles`. Raises InvalidInput unless they ascend between 0 and 1."""
    levels = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    is_sound = all(isinstance(level, float) and 0 < level < 1 for level in levels)
    if not is_sound or list(levels) != sorted(set(levels)):
        raise InvalidInput(
            f"task.params.quantiles = {given!r}: it must be a list of numbers between 0 and 1, ascending"
        )
    return levels


def _numbers(name: str, values: pa.ChunkedArray, levels: tuple[float, ...]) -> Target:
    steps = 1
    if is_list(values.type):
        steps, *more = array_shape(name, values)
        if more:
            raise InvalidInput(f"target {name!r} has type {values.type}; a row's target is one list of numbers at most")
    numbers = to_numpy(values.cast(pa.float64()) if steps == 1 and not is_list(values.type) else values)
    numbers = numbers.astype(np.float64)
    finite = numbers[is_finite(numbers)]
    # A step ahead of a series may be missing, and counts nothing then; a single value may not.
    if not is_list(values.type):
        _require_finite(name, numbers)
    if not finite.size:
        raise InvalidInput(f"target {name!r} holds no finite number")
    mean, std = scale(finite)
    return Target(name, "FP64", mean=mean, std=std, quantiles=levels, steps=steps)


def _require_finite(name: str, numbers: NDArray[np.generic]) -> None:
    wrong = numbers[~is_finite(numbers)]
    if wrong.size:
        raise InvalidInput(
            f"target {name!r} holds {wrong[0]:g}; each value must be a finite number, {LARGEST:.3g} at most"
        )


def _classes(name: str, values: pa.ChunkedArray) -> Target:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise InvalidInput(
            f"target {name!r} has type {kind}: classes are texts, whole numbers or booleans; "
            "set task.kind to regression, or make it whole numbers"
        )
    classes = sorted(pc.unique(values).to_pylist())
    if not 2 <= len(classes) <= MAX_CLASSES:
        shown = f"one class only, {classes[0]!r}" if len(classes) == 1 else f"{len(classes)} classes"
        raise InvalidInput(f"target {name!r} has {shown} in the training rows; it must have 2 to {MAX_CLASSES}")
    datatype: Datatype = "BYTES" if isinstance(classes[0], str) else datatype_of(kind)
    return Target(name, datatype, tuple(classes))


def _labels(name: str, values: pa.ChunkedArray) -> Target:
    inner = values.type.value_type if is_list(values.type) else None
    if inner is None or not (is_text(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner)):
        raise InvalidInput(
            f"target {name!r} has type {values.type}: task.kind multilabel needs a list of texts or whole numbers in "
            "each row, or a list of as many booleans"
        )
    if pa.types.is_boolean(inner):
        (width,) = array_shape(name, values)
        classes: list[Any] = list(range(width))
    else:
        classes = sorted(pc.unique(pc.list_flatten(values)).to_pylist(), key=lambda label: (label is None, label))
    if None in classes:
        raise InvalidInput(f"target {name!r} has a null among its labels; a row without labels has an empty list")
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InvalidInput(
            f"target {name!r} has {len(classes)} labels in the training rows; it must have 2 to {MAX_CLASSES}"
        )
    return Target(name, "BOOL", tuple(classes), is_multilabel=True)
