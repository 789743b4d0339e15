"""Owns the pass over a table that makes its profile, on all cores; fits no bins, judges nothing, reads no file."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import pyarrow as pa

from ..errors import InvalidInput
from .arrays import Prefer, array_module
from .binning import Binning
from .columns import KIND_OF, Kind, column_of, pieces, type_of
from .cores import num_threads
from .profiles import ColumnProfile, Profile
from .tally import Tally, make_tally

BATCH_ROWS = 131_072
"""Rows counted at a time; what must be converted first then stays in the cache."""
DEVICE_BATCH_ROWS = 1 << 23
PART_ROWS = 1 << 20
"""Rows of one column that one thread takes."""

FITTING: dict[Kind, str] = {
    "numeric": "a number or a duration",
    "timestamp": "a time",
    "boolean": "a boolean",
    "categorical": "a string or a dictionary",
    "embedding": "a list of numbers",
}


def misfit(found: pa.DataType, binning: Binning) -> str | None:
    """Say why a column of this type can't be counted on the bins; None where it can. Type null fits any."""
    if pa.types.is_null(found):
        return None
    type_ = type_of(found)
    if type_ is None or KIND_OF[type_] != binning.kind:
        return f"is {found}, but its {binning.kind} bins need {FITTING[binning.kind]}"
    if binning.kind == "timestamp" and type_ != binning.type and not pa.types.is_date(found):
        wanted = "a time zone" if binning.type == "zoned timestamp" else "no time zone"
        return f"is {found}, but the times of its reference have {wanted}"
    return None


class TableTally:
    """Counts tables on the same bins, from any number of threads at once."""

    def __init__(self, binnings: Mapping[str, Binning], prefer: Prefer = "cpu") -> None:
        self._binnings = dict(binnings)
        self._xp = array_module(prefer)
        self._batch_rows = BATCH_ROWS if self._xp is np else DEVICE_BATCH_ROWS
        # A column has more than one tally only where two threads were at it at once.
        self._tallies: dict[str, deque[Tally]] = {name: deque() for name in binnings}

    def add_column(self, name: str, column: pa.ChunkedArray) -> None:
        """Count rows of one column; raises `InvalidInput` for a type that does not fit."""
        binning = self._binnings[name]
        if reason := misfit(column.type, binning):
            raise InvalidInput(f"column {name!r} {reason}")
        if pa.types.is_null(column.type):
            column = column.cast(_empty_type(binning))
        try:
            tally = self._tallies[name].pop()
        except IndexError:
            tally = make_tally(binning, self._xp)
        try:
            # Floats are counted where they lie; others are converted first, in pieces that stay in the cache.
            is_plain = pa.types.is_float32(column.type) or pa.types.is_float64(column.type)
            for piece in pieces(column, PART_ROWS if is_plain else self._batch_rows):
                tally.add(piece)
        except InvalidInput as error:
            raise InvalidInput(f"column {name!r}: {error}") from None
        finally:
            self._tallies[name].append(tally)

    def profile(self) -> Profile:
        """What was counted so far; every column must have been given the same rows."""
        columns = {}
        for name, binning in self._binnings.items():
            parts = [tally.profile() for tally in self._tallies[name]]
            columns[name] = reduce(ColumnProfile.merge, parts) if parts else ColumnProfile.empty(binning)
        return Profile(columns, next(iter(columns.values())).count if columns else 0)


def _empty_type(binning: Binning) -> pa.DataType:
    if binning.basis is not None:
        return pa.list_(pa.float64())
    return pa.float64() if binning.is_ordered else pa.large_string()


def profile_table(
    table: pa.Table | pa.RecordBatch,
    binnings: Mapping[str, Binning],
    threads: int | None = None,
    prefer: Prefer = "cpu",
) -> Profile:
    """Profile the columns that have a binning, in one pass a column; other columns are ignored.

    A column of type null fits any binning. Raises `InvalidInput` for a column that is missing or whose type
    does not fit, `Unavailable` for prefer="gpu" without a GPU.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    tally = TableTally(binnings, prefer)
    columns = {name: column_of(table, name) for name in binnings}
    parts = [
        (name, column.slice(start, PART_ROWS))
        for start in range(0, max(table.num_rows, 1), PART_ROWS)
        for name, column in columns.items()
    ]
    threads = min(threads or num_threads(), len(parts)) if prefer == "cpu" else 1
    if threads <= 1:
        for name, part in parts:
            tally.add_column(name, part)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(tally.add_column, name, part) for name, part in parts]:
                done.result()
    profile = tally.profile()
    return Profile(profile.columns, table.num_rows)
