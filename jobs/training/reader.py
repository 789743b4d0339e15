"""One part of a snapshot, whole in memory or read in pieces; who uses it need not know which."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...platform.data import PARTS, Snapshot, assign_parts, read_pieces
from ...platform.data.split import Part
from ...platform.errors import InvalidInput, Unavailable
from ...platform.project import Project
from .data import part_tables
from .feed import shuffled
from .window import Chosen

SAMPLE_BYTES = 512 << 20
"""A sample ends where it has so many, whatever its rows."""


class PartRows(Protocol):
    """The rows of one part of a snapshot."""

    @property
    def count(self) -> int:
        """Number of rows."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""
        ...

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows in their order, in one piece or in many."""
        ...

    def sample(self, columns: Sequence[str], seed: int, rows: int) -> pa.Table:
        """Some rows in their order, all where they are few."""
        ...

    def first(self, columns: Sequence[str], rows: int) -> pa.Table:
        """The first rows, at most so many."""
        ...


def open_parts(snapshot: Snapshot, project: Project, source: str) -> Mapping[Part, PartRows]:
    """The parts of a snapshot; `source` is a plan's input, `memory` or `stream`.

    A forecast is in memory always: its rows are windows, which are cut from whole series.
    """
    if source == "stream" and project.task.use != "forecast":
        return read_parts(snapshot, project)
    return {part: PartTable(table) for part, table in part_tables(snapshot, project).items()}


def read_parts(snapshot: Snapshot, project: Project) -> Mapping[Part, PartReader]:
    """The parts of a snapshot, all of them to be read in pieces."""
    codes = _codes(snapshot, project)
    return {part: PartReader(snapshot, project, part, codes) for part in PARTS}


class PartTable:
    """A part that is in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self._table.num_rows)

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""
        return list(self._table.column_names)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows, in one piece."""
        _require(columns, self.names)
        yield self._table.select(list(columns))

    def sample(self, columns: Sequence[str], seed: int, rows: int) -> pa.Table:  # noqa: ARG002
        """All rows: they are here."""
        return next(self.tables(columns))

    def first(self, columns: Sequence[str], rows: int) -> pa.Table:
        """The first rows."""
        return next(self.tables(columns)).slice(0, rows)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of one file of the snapshot, and which of its rows are in the part."""

    file: int
    number: int
    is_in_part: NDArray[np.bool_]
    count: int
    """Rows in the part."""

    @property
    def places(self) -> NDArray[np.int64]:
        """Which rows they are."""
        return np.flatnonzero(self.is_in_part)


class PartReader:
    """A part that is read from the snapshot's files each time: a byte a row is kept, and nothing else."""

    def __init__(self, snapshot: Snapshot, project: Project, part: Part, codes: NDArray[np.int8] | None = None) -> None:
        self._snapshot = snapshot
        self.names: Sequence[str] = [name for name, _ in snapshot.manifest.columns]
        codes = _codes(snapshot, project) if codes is None else codes
        self.groups = [group for group in self._list(codes == PARTS.index(part)) if group.count]
        self.count = sum(group.count for group in self.groups)
        self._file: tuple[int, pq.ParquetFile] | None = None

    def choose(self, group: RowGroup, columns: Sequence[str]) -> Chosen:
        """All rows of a group, and which of them are in the part."""
        if self._file is None or self._file[0] != group.file:
            self._file = (group.file, pq.ParquetFile(self._open(group.file)))
        return Chosen(self._file[1].read_row_group(group.number, columns=list(columns)), group.places)

    def apart(self) -> PartReader:
        """The same with an open file of its own, since two threads can't read one."""
        made = copy.copy(self)
        made._file = None
        return made

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows, in pieces that have rows of one row group each."""
        for group in self.groups:
            yield from self._pieces(group, columns)

    def sample(self, columns: Sequence[str], seed: int, rows: int) -> pa.Table:
        """Row groups as the seed draws them, until there are so many rows or SAMPLE_BYTES of them."""
        found: list[tuple[int, pa.Table]] = []
        left_rows, left_bytes = rows, SAMPLE_BYTES
        for place in shuffled(len(self.groups), seed).tolist():
            for piece in self._pieces(self.groups[place], columns):
                found.append((place, piece.slice(0, left_rows)))
                left_rows, left_bytes = left_rows - piece.num_rows, left_bytes - piece.nbytes
                if left_rows <= 0 or left_bytes <= 0:
                    break
            if left_rows <= 0 or left_bytes <= 0:
                break
        return pa.concat_tables([piece for _, piece in sorted(found, key=lambda entry: entry[0])])

    def first(self, columns: Sequence[str], rows: int) -> pa.Table:
        """The first rows."""
        found: list[pa.Table] = []
        left = rows
        for piece in self.tables(columns):
            found.append(piece.slice(0, left))
            left -= piece.num_rows
            if left <= 0:
                break
        return pa.concat_tables(found)

    def _pieces(self, group: RowGroup, columns: Sequence[str]) -> Iterator[pa.Table]:
        _require(columns, self.names)
        first, store = 0, self._snapshot.store
        with self._open(group.file) as opened:
            pieces = read_pieces(opened, is_local=store.is_local, groups=[group.number], columns=columns)
            while (piece := self._next(pieces, group)) is not None:
                wanted = group.is_in_part[first : first + piece.num_rows]
                first += piece.num_rows
                if wanted.any():
                    yield piece if wanted.all() else piece.filter(pa.array(wanted))

    def _next(self, pieces: Iterator[pa.Table], group: RowGroup) -> pa.Table | None:
        try:
            return next(pieces, None)
        except OSError as error:  # of the store, or of what lies in it
            file = self._snapshot.manifest.files[group.file]
            raise Unavailable(f"cannot read {self._snapshot.store.shown(file.object_name)}: {error}") from None

    def _list(self, is_in_part: NDArray[np.bool_]) -> Iterator[RowGroup]:
        first = 0
        for file in range(len(self._snapshot.manifest.files)):
            with self._open(file) as opened:
                metadata = pq.read_metadata(opened)
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                mine = is_in_part[first : first + rows]
                yield RowGroup(file, number, mine, int(mine.sum()))
                first += rows

    def _open(self, file: int) -> pa.NativeFile:
        return self._snapshot.store.open(self._snapshot.manifest.files[file].object_name)


def _require(columns: Sequence[str], known: Sequence[str]) -> None:
    for name in columns:
        if name not in known:
            raise InvalidInput(f"the snapshot has no column {name!r}")


def _codes(snapshot: Snapshot, project: Project) -> NDArray[np.int8]:
    """The part of each row; only the column that decides it is read, and there may be none."""
    named = project.data.time if project.data.split.by == "time" else project.data.key
    return assign_parts(snapshot.table([] if named is None else [named]), project.data, snapshot.row_keys())
