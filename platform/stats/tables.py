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

    A matrix's columns are named "0", "1" and so on; in a mapping a matrix is a column of vectors.
    Raises `InvalidInput` for anything else.
    """
    if isinstance(data, Columns):
        return data
    if isinstance(data, pa.Table):
        return Columns(data)
    if isinstance(data, pa.RecordBatch):
        return Columns(pa.Table.from_batches([data]))
    if _is_pandas(data):
        return _of_pandas(data if hasattr(data, "columns") else data.to_frame(_name_of(data)))
    if isinstance(data, Mapping):
        return _of_arrays({str(name): _array(column) for name, column in data.items()})
    if hasattr(data, "__arrow_c_stream__"):
        return _of_stream(data)
    array = _array(data)
    if isinstance(array, pa.ChunkedArray) or array.ndim == 1:
        return _of_arrays({"0": array})
    if array.ndim != 2:
        raise InvalidInput(f"the data has {array.ndim} axes, but it must have rows and columns")
    return _of_arrays({str(place): array[:, place] for place in range(array.shape[1])})


def _name_of(vector: Any) -> str:
    name = getattr(vector, "name", None)
    return "0" if name in (None, "") else str(name)


def _of_stream(data: Any) -> Columns:
    try:
        return Columns(pa.table(data))
    except pa.ArrowException:  # no table but a vector, such as a Series of Polars
        return Columns(pa.table({_name_of(data): pa.chunked_array(data)}))


def _is_pandas(data: Any) -> bool:
    return _library(data) == "pandas" and (hasattr(data, "columns") or hasattr(data, "to_frame"))


def _library(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


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
        if series.dtype.kind == "M" and getattr(series.dtype, "tz", None) is not None:
            # Arrow asks pandas for these in a way that pandas gives up, and the instants are all that counts.
            return pa.array(series.dt.tz_convert(None).to_numpy()).cast(pa.timestamp(series.dtype.unit, "UTC"))
        return pa.Array.from_pandas(series)
    except pa.ArrowException as error:
        raise InvalidInput(f"column {_name_of(series)!r} cannot be read: {error}") from None


def _array(data: Any) -> Array | pa.ChunkedArray:
    """A vector or matrix of any library as an array of NumPy or CuPy, or as a column of Arrow."""
    library = _library(data)
    if library == "torch":
        return _of_torch(data)
    if library == "pandas" and hasattr(data, "to_frame"):
        return pa.chunked_array([_of_series(data)])
    if isinstance(data, pa.ChunkedArray):
        return data
    if isinstance(data, pa.Array):
        return pa.chunked_array([data])
    if hasattr(data, "__arrow_c_stream__"):
        return pa.chunked_array(data)
    if isinstance(data, (list, tuple)):
        try:
            return np.asarray(data)
        except ValueError:
            raise InvalidInput("the rows of a list have different lengths, but all must have the same") from None
    if isinstance(data, np.ndarray) or library == "cupy":
        return data
    raise InvalidInput(
        f"the data is a {type(data).__name__}, but it must be a table of pandas, Arrow or Polars, or an array"
    )


def _of_torch(tensor: Any) -> Array:
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()  # NumPy has no such type
    if tensor.is_cuda:
        import cupy

        return cupy.from_dlpack(tensor)
    return tensor.numpy()


def _of_arrays(arrays: Mapping[str, Array]) -> Columns:
    for name, array in arrays.items():
        if isinstance(array, pa.ChunkedArray):
            continue
        on_host = isinstance(array, np.ndarray)
        if array.ndim != 1 and not (on_host and array.ndim == 2 and array.shape[1]):
            rule = (
                "it must be a vector, or a matrix with a vector a row" if on_host else "on a device it must be a vector"
            )
            raise InvalidInput(f"column {name!r} has the shape {array.shape}, but {rule}")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise InvalidInput(f"the columns have {sorted(lengths)} rows, but all must have the same number")
    device = {name: array for name, array in arrays.items() if not isinstance(array, (np.ndarray, pa.ChunkedArray))}
    if device and len(device) < len(arrays):
        raise InvalidInput("some columns lie on the host and some on a device, but all must lie on one side")
    if device:
        return Columns(pa.table({}), device)
    return Columns(pa.table({name: _host_column(name, array) for name, array in arrays.items()}))


def _host_column(name: str, array: np.ndarray | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(array, pa.ChunkedArray):
        return array
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        if array.ndim == 1:
            return pa.array(array)
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
    except pa.ArrowException as error:
        raise InvalidInput(f"column {name!r} of {array.dtype} cannot be read: {error}") from None
