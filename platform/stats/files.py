"""Owns the pass over Parquet files, row group by row group, in memory that no number of rows changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from ..errors import InvalidInput
from .arrays import Prefer
from .binning import Binning
from .columns import type_of
from .cores import num_threads
from .fitting import SAMPLE_ROWS, fit_binnings
from .profiles import Profile
from .scan import TableTally
from .widening import widened

PORTION_BYTES = 8 * 1024 * 1024
"""Decoded bytes that one thread reads at a time: they are counted while they are in its cache."""


SAMPLE_GROUPS = 32
"""Row groups that a reference's bins are fitted to, spread over all of its files."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Rows whose time column lies in [since, until), seconds since 1970; a row without a time is left out."""

    column: str
    since_s: float
    until_s: float

    def mask(self, times: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which times lie within; naive ones count as UTC."""
        kind = times.type
        if not pa.types.is_timestamp(kind):
            raise InvalidInput(f"column {self.column!r} is {kind}, but a window of time needs a timestamp")
        since, until = (_instant(second, kind) for second in (self.since_s, self.until_s))
        return pc.fill_null(pc.and_(pc.greater_equal(times, since), pc.less(times, until)), False)

    def may_touch(self, group: pq.RowGroupMetaData) -> bool:
        """False where the row group's own statistics rule it out."""
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema == self.column and column.is_stats_set and column.statistics.has_min_max:
                low, high = (_seconds(value) for value in (column.statistics.min, column.statistics.max))
                return low is None or high is None or (low < self.until_s and high >= self.since_s)
        return True


def _instant(second: float, kind: pa.DataType) -> pa.Scalar:
    units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return pa.scalar(-int(-second * units // 1), pa.int64()).cast(kind)


def _seconds(value: Any) -> float | None:
    from datetime import UTC, datetime

    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows and columns of the files are counted."""

    columns: tuple[str, ...]
    """Columns to count; each must be in every file."""
    where: pc.Expression | None = None
    """Rows to count; default all."""
    needs: tuple[str, ...] = ()
    """Columns that `where` reads."""
    times: TimeRange | None = None
    reads: tuple[str, ...] = ()
    """Columns of the files that `transform` makes those to count from; all are read together."""
    transform: Callable[[pa.Table], pa.Table] | None = None
    """Makes a table of the columns to count; default they are counted as they are in the files."""
    transform_key: str = ""
    """Says what `transform` does, so that two runs can be told apart."""

    @property
    def extra(self) -> tuple[str, ...]:
        """Columns to read beside those to count."""
        return tuple(dict.fromkeys([*self.needs, *([self.times.column] if self.times else [])]))

    def counted(self, portion: Portion) -> tuple[str, ...]:
        """The columns that a portion gives rows of."""
        return portion.columns if self.transform is None else self.columns

    def describe(self) -> list[Any]:
        """Plain values that two selections share only if they are the same."""
        times = None if self.times is None else [self.times.column, self.times.since_s, self.times.until_s]
        return [list(self.columns), str(self.where), list(self.needs), list(self.reads), times, self.transform_key]


@dataclass(frozen=True, slots=True)
class Portion:
    """Some columns of one row group: what is read at a time."""

    path: str
    group: int
    columns: tuple[str, ...]
    rows: int
    num_bytes: int
    """Decoded, as the file says."""


class ParquetFiles:
    """Files of one table on one file system; footers are read once."""

    def __init__(self, filesystem: fs.FileSystem, paths: Sequence[str]) -> None:
        if not paths:
            raise InvalidInput("there is no Parquet file to profile")
        self.filesystem, self.paths = filesystem, tuple(paths)
        self.footers: dict[str, pq.FileMetaData] = {}
        for path in paths:
            try:
                self.footers[path] = pq.read_metadata(path, filesystem=filesystem)
            except (pa.ArrowException, OSError) as error:
                raise InvalidInput(f"cannot read {path} as Parquet: {error}") from None
        self._roots = {path: _roots(footer) for path, footer in self.footers.items()}
        self._local = threading.local()

    @property
    def schema(self) -> pa.Schema:
        """The first file's columns."""
        return self.footers[self.paths[0]].schema.to_arrow_schema()

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(footer.num_rows for footer in self.footers.values())

    def portions(self, selection: Selection, portion_bytes: int = PORTION_BYTES) -> list[Portion]:
        """Cut all row groups that the selection may touch into portions.

        Raises `InvalidInput` for a column that a file does not have.
        """
        found: list[Portion] = []
        for path, footer in self.footers.items():
            roots = self._roots[path]
            known = set(footer.schema.to_arrow_schema().names)
            wanted, most = selection.columns, portion_bytes
            if selection.transform is not None:
                wanted, most = selection.reads, 2**63
            for name in (*wanted, *selection.extra):
                if name not in known:
                    raise InvalidInput(f"{path} has no column named {name!r}")
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                if group.num_rows and (selection.times is None or selection.times.may_touch(group)):
                    found += _cut(path, number, group, roots, wanted, most)
        return found

    def read(self, portion: Portion, selection: Selection) -> Iterator[pa.Table]:
        """The portion's rows that the selection keeps, in tables of at most about PORTION_BYTES."""
        file = self._open(portion.path)
        columns = list(dict.fromkeys([*portion.columns, *selection.extra]))
        if portion.num_bytes <= 2 * PORTION_BYTES:
            yield _kept(file.read_row_group(portion.group, columns=columns, use_threads=False), selection)
            return
        rows = max(1, portion.rows * PORTION_BYTES // portion.num_bytes)
        for batch in file.iter_batches(rows, row_groups=[portion.group], columns=columns, use_threads=False):
            yield _kept(pa.Table.from_batches([batch]), selection)

    def sample(self, columns: Sequence[str], rows: int = SAMPLE_ROWS, times: TimeRange | None = None) -> pa.Table:
        """About so many rows, at equal steps over at most SAMPLE_GROUPS row groups; the same each time."""
        selection = Selection(tuple(columns), times=times)
        portions = self.portions(selection)
        groups = list(dict.fromkeys((portion.path, portion.group) for portion in portions))
        chosen = {
            groups[place] for place in np.linspace(0, len(groups) - 1, min(len(groups), SAMPLE_GROUPS)).astype(int)
        }
        kept = [portion for portion in portions if (portion.path, portion.group) in chosen]
        sizes = {(portion.path, portion.group): portion.rows for portion in kept}
        step = max(1, -(-sum(sizes.values()) // rows))
        parts: dict[tuple[str, int], list[pa.Table]] = {}
        for portion in kept:
            tables = [_every(table, step) for table in self.read(portion, selection)]
            parts.setdefault((portion.path, portion.group), []).append(pa.concat_tables(tables))
        whole = [_beside(tables) for tables in parts.values()]
        return pa.concat_tables(whole) if whole else self.schema.empty_table().select(list(columns))

    def _open(self, path: str) -> pq.ParquetFile:
        opened: dict[str, pq.ParquetFile] = self._local.__dict__.setdefault("opened", {})
        if path not in opened:
            opened.clear()  # one open file a thread
            is_remote = not isinstance(self.filesystem, fs.LocalFileSystem)
            opened[path] = pq.ParquetFile(
                path, metadata=self.footers[path], filesystem=self.filesystem, pre_buffer=is_remote
            )
        return opened[path]


def _roots(footer: pq.FileMetaData) -> dict[str, list[int]]:
    """Leaf columns of each column: a list's is `name.list.element`."""
    roots: dict[str, list[int]] = {}
    for place in range(footer.num_columns):
        path = footer.schema.column(place).path
        roots.setdefault(path, []).append(place)
        for mark in (".list.element", ".list.item", ".bag.array_element"):
            if path.endswith(mark):
                roots.setdefault(path.removesuffix(mark), []).append(place)
    return roots


def _cut(
    path: str,
    number: int,
    group: pq.RowGroupMetaData,
    roots: Mapping[str, Sequence[int]],
    columns: Sequence[str],
    most_bytes: int,
) -> Iterator[Portion]:
    names: list[str] = []
    size = 0
    for name in columns:
        width = sum(max(group.column(leaf).total_uncompressed_size, 4 * group.num_rows) for leaf in roots.get(name, ()))
        if names and size + width > most_bytes:
            yield Portion(path, number, tuple(names), group.num_rows, size)
            names, size = [], 0
        names.append(name)
        size += width
    if names:
        yield Portion(path, number, tuple(names), group.num_rows, size)


def _kept(table: pa.Table, selection: Selection) -> pa.Table:
    if selection.times is not None:
        table = table.filter(selection.times.mask(table.column(selection.times.column)))
    return table if selection.where is None else table.filter(selection.where)


def _every(table: pa.Table, step: int) -> pa.Table:
    return table.take(pa.array(np.arange(0, table.num_rows, step))) if step > 1 else table


def _beside(tables: Sequence[pa.Table]) -> pa.Table:
    columns = {name: table.column(name) for table in tables for name in table.column_names}
    return pa.table(columns)


def count_portions(
    files: ParquetFiles,
    portions: Sequence[Portion],
    selection: Selection,
    binnings: Mapping[str, Binning],
    *,
    threads: int | None = None,
    prefer: Prefer = "cpu",
    done: Callable[[Portion], None] | None = None,
) -> Profile:
    """Count portions on the reference's bins; together they must hold the same rows of each column.

    `done` is called after each, from this thread. Raises `InvalidInput` where a column does not fit its bins.
    """
    tally = TableTally(binnings, prefer)

    def count(portion: Portion) -> Portion:
        for table in files.read(portion, selection):
            made = table if selection.transform is None else selection.transform(table)
            for name in selection.counted(portion):
                tally.add_column(name, made.column(name))
        return portion

    threads = min(threads or num_threads(), max(len(portions), 1)) if prefer == "cpu" else 1
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(count, portion) for portion in portions]
        try:
            for finished in as_completed(waiting):
                if done is not None:
                    done(finished.result())
                else:
                    finished.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return tally.profile()


def profile_in_order(*files: ParquetFiles) -> Profile:
    """Profile all rows on their own bins, to the same bytes on any number of threads: each column has one of them.

    Several `files` are of one table, on several file systems. Memory is bounded as for `profile_files`.
    """
    binnings = fit_files(*files)
    names = list(binnings)
    threads = min(num_threads(), len(names))

    def count(first: int) -> Profile:
        some = {name: binnings[name] for name in names[first::threads]}
        selection = Selection(tuple(some))
        return Profile.merge_all(count_portions(f, f.portions(selection), selection, some, threads=1) for f in files)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        counted = list(pool.map(count, range(threads)))
    columns = {name: counted[place % threads].columns[name] for place, name in enumerate(names)}
    return widened(Profile(columns, sum(place.rows for place in files)))


def profile_files(
    paths: Sequence[str],
    like: Profile | Mapping[str, Binning] | None = None,
    *,
    filesystem: fs.FileSystem | None = None,
    columns: Sequence[str] | None = None,
    times: TimeRange | None = None,
    threads: int | None = None,
) -> Profile:
    """Profile Parquet files on this machine: on their own bins, from a sample, or on those of `like`.

    Memory is bounded by columns and threads, whatever the rows. Raises `InvalidInput` for a file or a column that
    is missing or of a type that does not fit.
    """
    files = ParquetFiles(filesystem or fs.LocalFileSystem(), paths)
    if like is None:
        binnings = fit_files(files, columns=columns)
    else:
        binnings = like.binnings if isinstance(like, Profile) else dict(like)
        binnings = binnings if columns is None else {name: binnings[name] for name in columns}
    selection = Selection(tuple(binnings), times=times)
    found = count_portions(files, files.portions(selection), selection, binnings, threads=threads)
    return widened(found) if like is None else found


def fit_files(*files: ParquetFiles, columns: Sequence[str] | None = None) -> dict[str, Binning]:
    """Make binnings from a sample at equal steps over all files, some columns at a time.

    Without names, of every column that can have one; several file systems are of one table.
    """
    names = [f.name for f in files[0].schema if type_of(f.type) is not None] if columns is None else list(columns)
    binnings: dict[str, Binning] = {}
    for first in range(0, len(names), 64):
        some = names[first : first + 64]
        sample = pa.concat_tables([place.sample(some).select(some) for place in files])
        binnings |= fit_binnings(sample, None if columns is None else some)
    return binnings
