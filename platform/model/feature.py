"""Owns what an input column is to a model: its kind, the numbers that scale it, its categories, its shape."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput
from .columns import SMALLEST, array_shape, is_binary, is_finite, is_list, is_text, is_time, to_numpy
from .signature import ColumnSpec, Datatype

MAX_CATEGORIES = 10_000
NUM_BINS = 48
"""Of the edges that a numeric feature is described by."""
MOST_SAMPLED = 1_000_000
"""Rows from which edges are taken; more would only cost time."""

Kind = Literal["numeric", "categorical", "array", "image", "text"]
ANY_KIND: frozenset[Kind] = frozenset({"numeric", "categorical", "array", "image", "text"})


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column.

    `mean` and `std` scale numbers, and `edges`, where there are any, part them into bins of as many rows each.
    `categories` number texts, from 1 (0 is any other). An array has `shape` numbers a row, an image is a PNG or
    JPEG in base64, which is brought to `shape` (height, width, channels).
    """

    name: str
    kind: Kind
    datatype: Datatype
    mean: float = 0.0
    std: float = 1.0
    has_missing: bool = False
    categories: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    is_time: bool = False
    shape: tuple[int, ...] = ()
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """The number of each category."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {text: place for place, text in enumerate(self.categories, start=1)})

    @property
    def spec(self) -> ColumnSpec:
        """The column as a served model takes it."""
        return ColumnSpec(self.name, self.datatype, math.prod(self.shape) if self.kind == "array" else 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Feature:
        """The feature of `to_dict`, also after a trip through JSON."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)


def fit_feature(name: str, values: pa.ChunkedArray, kinds: Collection[Kind] = ANY_KIND) -> Feature:
    """Learn one of the kinds from a column of training rows. Raises InvalidInput where it can be none of them."""
    kind = values.type
    if pa.types.is_null(kind):
        raise InvalidInput(
            f"column {name!r} has type null, which no feature can have: nothing but nulls; name it under data.ignore"
        )
    if is_text(kind):
        return _text(name, values.cast(pa.string()), kinds)
    if is_binary(kind) and "image" in kinds:
        return Feature(name, "image", "BYTES")
    if is_list(kind) and "array" in kinds:
        return _array(name, values)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if "numeric" not in kinds or not (is_number or is_time(kind) or pa.types.is_boolean(kind)):
        raise InvalidInput(f"column {name!r} has type {kind}, which no feature can have: name it under data.ignore")
    numbers = to_numpy(values).astype(np.float64)
    finite = numbers[is_finite(numbers)]
    missing = bool(finite.size < numbers.size)
    edges = _edges(finite)
    return Feature(name, "numeric", datatype_of(kind), *scale(finite), missing, (), edges, is_time(kind))


def scale(finite: NDArray[Any]) -> tuple[float, float]:
    """Mean and deviation; a constant has deviation 1, since the sum's rounding would leave some 1e-17."""
    if not finite.size:
        return 0.0, 1.0
    std = float(finite.std()) if finite.min() < finite.max() else 1.0
    return float(finite.mean()), std if std >= SMALLEST else 1.0


def datatype_of(kind: pa.DataType) -> Datatype:
    """The wire's type of a plain column of numbers or booleans."""
    if pa.types.is_boolean(kind):
        return "BOOL"
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return "FP32"
    if pa.types.is_integer(kind):
        return "INT64" if kind.bit_width == 64 or str(kind) == "uint32" else "INT32"
    return "FP64"


def _edges(finite: NDArray[Any]) -> tuple[float, ...]:
    """Where bins of as many rows each begin and end; none for a constant."""
    if not finite.size:
        return ()
    sampled = finite[:: -(-finite.size // MOST_SAMPLED)]
    # "lower" gives values that occur: between 0 and 1 of a flag there is no edge.
    edges = np.unique(np.quantile(sampled, np.linspace(0.0, 1.0, NUM_BINS + 1), method="lower"))
    return tuple(edges.tolist()) if len(edges) > 1 else ()


def _text(name: str, texts: pa.ChunkedArray, kinds: Collection[Kind]) -> Feature:
    if "categorical" not in kinds:
        if kinds & {"image", "text"}:  # type: ignore[operator]
            return Feature(name, "text" if "text" in kinds else "image", "BYTES", has_missing=bool(texts.null_count))
        raise InvalidInput(f"column {name!r} has type string, which this task can't read: name it under data.ignore")
    categories = sorted(text for text in pc.unique(texts).to_pylist() if text is not None)
    if len(categories) <= MAX_CATEGORIES:
        return Feature(name, "categorical", "BYTES", categories=tuple(categories))
    if "text" in kinds:
        return Feature(name, "text", "BYTES", has_missing=bool(texts.null_count))
    raise InvalidInput(
        f"column {name!r} has {len(categories)} different texts; {MAX_CATEGORIES} are the most a feature "
        "may have: name it under data.ignore or data.key"
    )


def _array(name: str, values: pa.ChunkedArray) -> Feature:
    shape = array_shape(name, values)
    numbers = to_numpy(values)
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    missing = bool(finite.size < numbers.size)
    return Feature(name, "array", "FP32", *scale(finite), missing, shape=shape)
