"""Owns how a caller's data becomes columns: pandas, Arrow, Polars, NumPy, CuPy and torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InvalidInput
from .arrays import Array


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns on the host, as an Arrow table, and those that lie on a device."""

    table: pa.Table
    on_device: Mapping[str, Array] = field(default_factory=dict)
    nan_is_null: bool = False
    """True for pandas, which has one mark for both."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        if self.on_device:
            return int(next(iter(self.on_device.values())).shape[0])
        return int(self.table.num_rows)


def as_columns(data: Any) -> Columns:
    """Take a table of any library, a matrix (rows, columns), a vector, or a mapping of names to vectors.

    A matrix's columns are named "0", "1" and so on. Raises `InvalidInput` for anything else.
    """
    if isinstance(data, Columns):
        return data
    if isinstance(data, pa.Table):
        return Columns(data)
    if isinstance(data, pa.RecordBatch):
        return Columns(pa.Table.from_batches([data]))
    if _is_pandas(data):
        return _of_pandas(data)
    if isinstance(data, Mapping):
        return _of_arrays({str(name): _array(column) for name, column in data.items()})
    if hasattr(data, "__arrow_c_stream__"):
        return Columns(pa.table(data))
    array = _array(data)
    if array.ndim == 1:
        return _of_arrays({"0": array})
    if array.ndim != 2:
        raise InvalidInput(f"the data has {array.ndim} axes, but it must have rows and columns")
    return _of_arrays({str(place): array[:, place] for place in range(array.shape[1])})


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns")


def _of_pandas(frame: Any) -> Columns:
    arrays = []
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiu":
            arrays.append(pa.array(series.to_numpy(), from_pandas=False))
        else:
            arrays.append(_of_series(series))
    names = [str(name) for name in frame.columns]
    return Columns(pa.Table.from_arrays(arrays, names=names), nan_is_null=True)


def _of_series(series: Any) -> Any:
    try:
        return pa.Array.from_pandas(series)
    except pa.ArrowException as error:
        raise InvalidInput(f"column {str(series.name)!r} holds values of several types: {error}") from None


def _array(data: Any) -> Array:
    """NumPy, CuPy or torch as an array of NumPy or CuPy."""
    if type(data).__module__.partition(".")[0] == "torch":
        data = data.detach()
        if data.is_cuda:
            import cupy

            return cupy.from_dlpack(data)
        return data.numpy()
    if isinstance(data, (list, tuple)):
        return np.asarray(data)
    if hasattr(data, "ndim") and hasattr(data, "dtype"):
        return data
    raise InvalidInput(
        f"the data is a {type(data).__name__}, but it must be a table of pandas, Arrow or Polars, or an array"
    )


def _of_arrays(arrays: Mapping[str, Array]) -> Columns:
    lengths = {array.shape[0] for array in arrays.values()}
    if len(lengths) > 1:
        raise InvalidInput(f"the columns have {sorted(lengths)} rows, but all must have the same number")
    device = {name: array for name, array in arrays.items() if not isinstance(array, np.ndarray)}
    if device and len(device) < len(arrays):
        raise InvalidInput("some columns lie on the host and some on a device, but all must lie on one side")
    if device:
        for name, array in device.items():
            if array.ndim != 1:
                raise InvalidInput(f"column {name!r} has {array.ndim} axes, but on a device each must be a vector")
        return Columns(pa.table({}), device)
    return Columns(pa.table({name: _host_column(array) for name, array in arrays.items()}))


def _host_column(array: np.ndarray) -> pa.Array:
    if array.ndim == 2:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    return pa.array(array)
