"""What a model was taught about its table: features, target, and the numbers that scale them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..project import Project
from .signature import ColumnSpec, Datatype, Signature

MAX_CATEGORIES = 10_000
MAX_CLASSES = 1_000


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column. `mean` and `std` scale numbers; `categories` number texts, from 1 (0 is any other)."""

    name: str
    kind: Literal["numeric", "categorical"]
    datatype: Datatype
    mean: float = 0.0
    std: float = 1.0
    has_missing: bool = False
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """The column to predict: its classes in order, or the numbers that scale it."""

    name: str
    datatype: Datatype
    classes: tuple[str | int | bool, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    @property
    def is_classes(self) -> bool:
        """True for classification."""
        return bool(self.classes)


@dataclass(frozen=True, slots=True)
class Schema:
    """The features, in the table's order, and the target; made from training rows alone."""

    features: tuple[Feature, ...]
    target: Target
    numeric: tuple[Feature, ...] = field(init=False, repr=False, compare=False)
    """Features that are numbers."""
    categorical: tuple[Feature, ...] = field(init=False, repr=False, compare=False)
    """Features that are one of several texts."""

    def __post_init__(self) -> None:
        for kind in ("numeric", "categorical"):  # each prediction asks for them, so they are parted once
            object.__setattr__(self, kind, tuple(feature for feature in self.features if feature.kind == kind))

    def signature(self) -> Signature:
        """The columns a served model takes and gives."""
        inputs = tuple(ColumnSpec(feature.name, feature.datatype) for feature in self.features)
        if not self.target.is_classes:
            return Signature(inputs, (ColumnSpec("prediction", "FP64"),))
        prediction = ColumnSpec("prediction", self.target.datatype)
        return Signature(inputs, (prediction, ColumnSpec("probabilities", "FP32", len(self.target.classes))))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"features": [asdict(feature) for feature in self.features], "target": asdict(self.target)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schema:
        """The schema of `to_dict`, also after a trip through JSON."""
        features = [Feature(**{**f, "categories": tuple(f["categories"])}) for f in values["features"]]
        target = Target(**{**values["target"], "classes": tuple(values["target"]["classes"])})
        return cls(tuple(features), target)

    def encode_target(self, values: pa.ChunkedArray) -> NDArray[np.generic]:
        """Class numbers (rows,) int64, or values (rows,) float32; an unknown class raises InvalidInput."""
        if not self.target.is_classes:
            numbers: NDArray[np.generic] = values.cast(pa.float32()).to_numpy()
            return numbers
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        try:
            known = pa.array(self.target.classes, type=values.type)
        except (pa.ArrowException, TypeError):
            first = self.target.classes[0]
            raise InvalidInput(
                f"target {self.target.name!r} has type {values.type} here, but classes such as {first!r} in training"
            ) from None
        indices = pc.index_in(values, value_set=known)
        if indices.null_count:
            row = pc.index(pc.is_null(indices), True).as_py()
            raise InvalidInput(
                f"target {self.target.name!r} has the class {values[row].as_py()!r}, which training never saw"
            )
        codes: NDArray[np.generic] = indices.to_numpy().astype(np.int64)
        return codes


def fit_schema(table: pa.Table, project: Project) -> Schema:
    """Learn the schema from training rows.

    Raises InvalidInput for a column type that no feature can have, and for a target with one class.
    """
    names = [name for name in table.column_names if name not in project.data.not_features]
    features = tuple(_feature(name, table.column(name)) for name in names)
    return Schema(features, _target(project, table.column(project.data.target)))


def table_columns(table: pa.Table, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """The named columns as NumPy arrays (rows,): numbers with NaN for null, texts as objects with None."""
    return {name: _to_numpy(table.column(name)) for name in names}


def _to_numpy(values: pa.ChunkedArray) -> NDArray[np.generic]:
    kind = values.type
    if pa.types.is_boolean(kind) or pa.types.is_dictionary(kind) or pa.types.is_decimal(kind):
        values = values.cast(pa.string() if pa.types.is_dictionary(kind) else pa.float64())
    elif pa.types.is_temporal(kind):
        unit = pa.duration("us") if pa.types.is_duration(kind) else pa.timestamp("us")
        values = values.cast(unit, safe=False).cast(pa.int64()).cast(pa.float64())
        values = pc.divide(values, 1e6)  # seconds, of an instant since 1970
    result: NDArray[np.generic] = values.to_numpy()
    return result


def _feature(name: str, values: pa.ChunkedArray) -> Feature:
    kind = values.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = values.cast(pa.string())
        categories = sorted(text for text in pc.unique(texts).to_pylist() if text is not None)
        if len(categories) > MAX_CATEGORIES:
            raise InvalidInput(
                f"column {name!r} has {len(categories)} different texts; {MAX_CATEGORIES} are the most a feature "
                "may have: name it under data.ignore or data.key"
            )
        return Feature(name, "categorical", "BYTES", categories=tuple(categories))
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_time = pa.types.is_temporal(kind) and not pa.types.is_time(kind)
    if not (is_number or is_time or pa.types.is_boolean(kind)):
        raise InvalidInput(f"column {name!r} has type {kind}, which no feature can have: name it under data.ignore")
    numbers = _to_numpy(values).astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    return Feature(name, "numeric", _datatype(kind), *_scale(finite), bool(finite.size < numbers.size))


def _scale(finite: NDArray[np.generic]) -> tuple[float, float]:
    """Mean and deviation; a constant has deviation 1, since the sum's rounding would leave some 1e-17."""
    if not finite.size:
        return 0.0, 1.0
    return float(finite.mean()), float(finite.std()) if finite.min() < finite.max() else 1.0


def _datatype(kind: pa.DataType) -> Datatype:
    if pa.types.is_boolean(kind):
        return "BOOL"
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return "FP32"
    if pa.types.is_integer(kind):
        return "INT64" if kind.bit_width == 64 or str(kind) == "uint32" else "INT32"
    return "FP64"


def _target(project: Project, values: pa.ChunkedArray) -> Target:
    name = project.data.target
    if project.task.kind == "regression":
        numbers = values.cast(pa.float64()).to_numpy()
        mean, std = _scale(numbers)
        return Target(name, "FP64", mean=mean, std=std)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise InvalidInput(
            f"target {name!r} has type {kind}: classes are texts, whole numbers or booleans; "
            "set task.kind to regression, or make it whole numbers"
        )
    classes = sorted(pc.unique(values).to_pylist())
    if not 2 <= len(classes) <= MAX_CLASSES:
        shown = f"one class only, {classes[0]!r}" if len(classes) == 1 else f"{len(classes)} classes"
        raise InvalidInput(f"target {name!r} has {shown} in the training rows; it must have 2 to {MAX_CLASSES}")
    datatype: Datatype = "BYTES" if isinstance(classes[0], str) else _datatype(kind)
    return Target(name, datatype, tuple(classes))


def canonical_json(values: Mapping[str, Any]) -> bytes:
    """Bytes that depend on the values alone: sorted keys, one form of each number."""
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False).encode()
