"""Owns how an Arrow column becomes plain numbers or strings; knows nothing of bins or counts."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import InvalidInput

Kind = Literal["numeric", "categorical"]

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _is_numeric(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind))


def _has_unit(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_duration(kind))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def kind_of(arrow_type: pa.DataType) -> Kind | None:
    """Say how a column of this Arrow type is binned; None for a type that has no binning.

    Integers, floats, decimals, timestamps, dates and durations are numeric; strings, booleans and
    dictionaries of anything that is numeric or a string are categorical.
    """
    if _is_numeric(arrow_type) or _is_date(arrow_type) or _has_unit(arrow_type):
        return "numeric"
    if _is_text(arrow_type) or pa.types.is_boolean(arrow_type):
        return "categorical"
    if pa.types.is_dictionary(arrow_type) and kind_of(arrow_type.value_type) is not None:
        return "categorical"
    return None


def column_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return the one column of that name; `InvalidInput` if there is none or more than one."""
    indices = table.schema.get_all_field_indices(name)
    if len(indices) != 1:
        found = "no column" if not indices else f"{len(indices)} columns"
        raise InvalidInput(f"the table has {found} named {name!r}, but it needs exactly one")
    return table.column(indices[0])


def numeric_values(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return the values that are not null as float32 or float64; times in seconds (since 1970 for instants).

    float32 where it holds every value of the type exactly, else float64; integers beyond 2**53 are rounded.
    """
    column = column.drop_null()
    if _is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if _has_unit(column.type):
        units = UNITS_PER_SECOND[column.type.unit]
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.float64) / units
    is_narrow = pa.types.is_float16(column.type) or (pa.types.is_integer(column.type) and column.type.bit_width <= 16)
    if is_narrow:
        column = column.cast(pa.float32())
    elif not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy())


def category_values(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the column as large strings, nulls kept; booleans as "true" and "false"."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string())
