"""Cuts a table of series into windows: what was seen up to a moment, and the values that came after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..project import Project
from .columns import to_float32, to_numpy
from .options import Options

PARAMS: Mapping[str, Any] = {"window": 48, "horizon": 1, "stride": 1}
PAST = "past."
"""Comes before the name of a column in that of its window."""

# R = rows of the table, N = windows, W = window, H = horizon


def as_windows(table: pa.Table, project: Project) -> pa.Table:
    """One row for each window: `past.<column>` (W,), the target (H,), and key and time of the window's last moment.

    The table has a row for each moment, of one series or of one for each key. A step is a row: rows of a key are
    put in order of time, and no gap between them is filled. Only whole windows with a whole horizon are made, and none
    crosses two keys. Raises InvalidInput where the project names no time, a column is no number, or nothing is left.
    """
    data = project.data
    options = Options(
        "forecast", PARAMS, {name: project.task.params[name] for name in PARAMS.keys() & project.task.params}
    )
    window, horizon, stride = (options.count(name) for name in PARAMS)
    if data.time is None or (data.split.by != "time" and data.key is None):
        raise InvalidInput(
            "task.use = 'forecast' needs data.time, and data.split.by time or a data.key: rows of one series must "
            "stay together"
        )
    names = [name for name in table.column_names if name not in data.not_features or name == data.target]
    keys = [data.key] if data.key is not None else []
    table = table.take(pc.sort_indices(table, [(name, "ascending") for name in [*keys, data.time]]))
    begins_N = _beginnings(table, keys, window + horizon, stride)
    if not len(begins_N):
        raise InvalidInput(
            f"no series has {window + horizon} rows, which task.params.window {window} and horizon {horizon} need"
        )
    last = table.take(pa.array(begins_N + window - 1))
    columns: dict[str, Any] = {name: last.column(name) for name in [*keys, data.time]}
    for name in names:
        columns[PAST + name] = _lists(_numbers(table, name), begins_N, window)
    columns[data.target] = _lists(_numbers(table, data.target), begins_N + window, horizon)
    return pa.table(columns)


def _beginnings(table: pa.Table, keys: list[str], needed: int, stride: int) -> NDArray[np.int64]:
    """The first row of each window: every `stride`-th of a key's rows after which enough follow."""
    rows = table.num_rows
    if not keys:
        return np.arange(0, rows - needed + 1, stride, dtype=np.int64)
    codes = table.column(keys[0]).combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    firsts = np.flatnonzero(np.diff(codes, prepend=-1))
    ends = np.append(firsts[1:], rows)
    parts = [np.arange(first, end - needed + 1, stride) for first, end in zip(firsts, ends, strict=True)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _numbers(table: pa.Table, name: str) -> NDArray[np.float32]:
    kind = table.schema.field(name).type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (is_number or pa.types.is_boolean(kind)):
        raise InvalidInput(f"column {name!r} has type {kind}; a series is numbers: name it under data.ignore")
    return to_float32(to_numpy(table.column(name)))


def _lists(values_R: NDArray[np.float32], begins_N: NDArray[np.int64], length: int) -> pa.Array:
    cut = sliding_window_view(values_R, length)[begins_N]
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(cut).reshape(-1)), length)
