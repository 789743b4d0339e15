"""Owns how an Arrow column becomes a NumPy array: numbers with NaN for null, texts as objects, lists as rows."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput

LARGEST = float(np.finfo(np.float32).max)
"""Modules compute in 32 bits: what is above is infinite to them."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""And a difference below is none."""


def is_text(kind: pa.DataType) -> bool:
    """True for strings, and for what a dictionary of any type is read as."""
    return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_binary(kind: pa.DataType) -> bool:
    """True for columns of bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_time(kind: pa.DataType) -> bool:
    """True for instants, dates and durations; a time of day has no place on a line."""
    return bool(pa.types.is_temporal(kind) and not pa.types.is_time(kind))


def is_list(kind: pa.DataType) -> bool:
    """True for lists, of fixed or of any length, and for Arrow's tensors of a fixed shape."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return True
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def to_numpy(values: pa.ChunkedArray) -> NDArray[np.generic]:
    """Numbers or objects (rows,), or float32 (rows, width) for lists of numbers, flattened row by row."""
    kind = values.type
    if is_list(kind):
        return _flat(values)
    if pa.types.is_boolean(kind) or pa.types.is_dictionary(kind) or pa.types.is_decimal(kind):
        values = values.cast(pa.string() if pa.types.is_dictionary(kind) else pa.float64())
    elif pa.types.is_temporal(kind):
        unit = pa.duration("us") if pa.types.is_duration(kind) else pa.timestamp("us")
        values = values.cast(unit, safe=False).cast(pa.int64()).cast(pa.float64())
        values = pc.divide(values, 1e6)  # seconds, of an instant since 1970
    result: NDArray[np.generic] = values.to_numpy()
    return result


def is_finite(numbers: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where numbers are neither missing nor infinite, in 32 bits."""
    found: NDArray[np.bool_] = np.abs(numbers.astype(np.float64)) <= LARGEST
    return found


def to_float32(numbers: NDArray[np.generic]) -> NDArray[np.float32]:
    """Numbers in 32 bits; one that these can't hold is infinite, and no warning is given of it."""
    with np.errstate(over="ignore"):
        return np.asarray(numbers, dtype=np.float32)


def array_shape(name: str, values: pa.ChunkedArray) -> tuple[int, ...]:
    """The shape of each row's numbers, the same in every row. Raises InvalidInput where it is not."""
    if isinstance(values.type, pa.FixedShapeTensorType):
        return tuple(values.type.shape)
    shape: list[int] = []
    inner: pa.Array = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    while is_list(inner.type):
        if inner.null_count:
            row = pc.index(pc.is_null(inner), True).as_py() // math.prod(shape)
            raise InvalidInput(f"column {name!r} has no list in row {row + 1}; each row must have one")
        lengths = pc.list_value_length(inner)
        found = pc.min_max(lengths).as_py()
        if found["min"] != found["max"] or not found["max"]:
            raise InvalidInput(
                f"column {name!r} has lists of {found['min']} to {found['max']} values; "
                "each row must have as many, and one at least"
            )
        shape.append(found["max"])
        inner = pc.list_flatten(inner)
    is_number = pa.types.is_integer(inner.type) or pa.types.is_floating(inner.type) or pa.types.is_boolean(inner.type)
    if not is_number:
        raise InvalidInput(
            f"column {name!r} has type {values.type}, which no feature can have: name it under data.ignore"
        )
    return tuple(shape)


def _flat(values: pa.ChunkedArray) -> NDArray[np.generic]:
    rows = len(values)
    if isinstance(values.type, pa.FixedShapeTensorType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)
    inner: pa.Array = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    while is_list(inner.type):
        inner = pc.list_flatten(inner)
    numbers: NDArray[np.generic] = inner.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return numbers.reshape(rows, -1) if rows else numbers.reshape(0, 0)
