"""Owns how an Arrow column becomes plain numbers, texts or vectors; knows nothing of bins or counts."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput

Kind = Literal["numeric", "timestamp", "boolean", "categorical", "embedding"]

Type = Literal["integral", "fractional", "boolean", "string", "timestamp", "zoned timestamp", "duration", "vector"]
"""What a column's values are, whatever their width: a column of one kind may change its type."""

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def type_of(arrow_type: pa.DataType) -> Type | None:
    """Say what the values of an Arrow type are; None for one that cannot be profiled, such as binary.

    A dictionary is of strings, whatever it holds: someone named its values as categories.
    """
    types = pa.types
    if types.is_integer(arrow_type):
        return "integral"
    if types.is_floating(arrow_type) or types.is_decimal(arrow_type):
        return "fractional"
    if types.is_boolean(arrow_type):
        return "boolean"
    if types.is_timestamp(arrow_type):
        return "timestamp" if arrow_type.tz is None else "zoned timestamp"
    if types.is_date(arrow_type):
        return "timestamp"
    if types.is_duration(arrow_type):
        return "duration"
    if _is_text(arrow_type):
        return "string"
    if types.is_dictionary(arrow_type) and type_of(arrow_type.value_type) not in (None, "vector"):
        return "string"
    if _is_list(arrow_type) and _is_number(arrow_type.value_type):
        return "vector"
    return None


KIND_OF: dict[Type, Kind] = {
    "integral": "numeric",
    "fractional": "numeric",
    "duration": "numeric",
    "timestamp": "timestamp",
    "zoned timestamp": "timestamp",
    "boolean": "boolean",
    "string": "categorical",
    "vector": "embedding",
}


def kind_of(arrow_type: pa.DataType) -> Kind | None:
    """Say how a column of this Arrow type is binned; None for a type that has no bins."""
    found = type_of(arrow_type)
    return None if found is None else KIND_OF[found]


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return the one column of that name; `InvalidInput` if there is none or more than one."""
    indices = table.schema.get_all_field_indices(name)
    if len(indices) != 1:
        found = "no column" if not indices else f"{len(indices)} columns"
        raise InvalidInput(f"the table has {found} named {name!r}, but it needs exactly one")
    return table.column(indices[0])


def numeric_values(column: pa.Array) -> NDArray[Any]:
    """Return all values as float32 or float64; times in seconds (since 1970 for instants). Nulls hold anything.

    float32 where it holds every value of the type exactly, else float64; integers beyond 2**53 are rounded.
    """
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
        kind = column.type
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64(), safe=False)
        kind = column.type
    is_time = pa.types.is_timestamp(kind) or pa.types.is_duration(kind)
    raw_N = _raw(column.view(pa.int64()) if is_time else column)
    if is_time:
        return np.asarray(raw_N, dtype=np.float64) / UNITS_PER_SECOND[kind.unit]
    is_narrow = raw_N.dtype == np.float16 or (raw_N.dtype.kind in "iu" and raw_N.dtype.itemsize <= 2)
    if is_narrow:
        return raw_N.astype(np.float32)
    return raw_N if raw_N.dtype.kind == "f" else raw_N.astype(np.float64)


def _raw(column: pa.Array) -> NDArray[Any]:
    """The values' memory as it is, without a copy."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros(len(column), dtype=dtype)
    return np.frombuffer(buffer, dtype=dtype, count=len(column), offset=column.offset * dtype.itemsize)


def is_valid(column: pa.Array) -> NDArray[np.bool_] | None:
    """Which values are not null; None where none is null."""
    if not column.null_count:
        return None
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)


def category_values(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the column as large strings, nulls kept; booleans as "true" and "false"."""
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([category_values(chunk) for chunk in column.chunks], pa.large_string())
    if pa.types.is_dictionary(column.type):
        # Texts first: Arrow decodes no dictionary of string views, as Polars has them.
        return column.dictionary.cast(pa.large_string()).take(column.indices)
    return column.cast(pa.large_string())


def vectors(column: pa.Array, width: int | None = None) -> NDArray[np.float64]:
    """Return the lists that are not null as a matrix (rows, width).

    Raises `InvalidInput` where they have not one width, or not the one that is asked for.
    """
    column = column.drop_null()
    if not len(column):
        return np.empty((0, width or 0))
    flat = column.flatten().to_numpy(zero_copy_only=False)
    found = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    wanted = int(found[0]) if width is None else width
    if (found != wanted).any():
        odd = int(found[found != wanted][0])
        raise InvalidInput(f"a vector has {odd} numbers, but every vector of its column must have {wanted}")
    return np.asarray(flat, dtype=np.float64).reshape(len(column), wanted)


def pieces(column: pa.ChunkedArray, num_rows: int) -> Iterator[pa.Array]:
    """Parts of a column of at most so many rows each, in order, without a copy."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), num_rows):
            yield chunk.slice(start, num_rows)
