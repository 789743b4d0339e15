"""Rows of a snapshot that is larger than memory: row groups in an order of their own for each epoch.

The order comes from (seed, epoch) alone: row groups are drawn, as many as hold `shuffle_rows` are mixed, and batches
are cut from what they give one after the other. Every rank reads all of them and keeps its share of each batch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from ...platform.data import PARTS, Snapshot, assign_parts
from ...platform.data.split import Part
from ...platform.model.schema import Schema
from ...platform.model.task import Task
from ...platform.project import Project
from .ahead import Ahead
from .data import Rows
from .feed import Share, in_order, shuffled
from .plan import Place, Plan, mix
from .prefetch import Prefetch, Sent
from .window import Chosen, mixed


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of one file of the snapshot, and which of its rows are in the part."""

    file: int
    number: int
    places: NDArray[np.int64]


class PartReader:
    """One part of a snapshot, read row group by row group."""

    def __init__(self, snapshot: Snapshot, project: Project, part: Part) -> None:
        self._snapshot = snapshot
        data = project.data
        self._parts = assign_parts(_deciding_columns(snapshot, project), data, snapshot.row_keys())
        self._wanted = PARTS.index(part)
        self.groups = [group for group in self._list() if len(group.places)]
        self.count = sum(len(group.places) for group in self.groups)
        self._file: tuple[int, pq.ParquetFile] | None = None
        del self._parts

    def read(self, group: RowGroup, columns: Sequence[str]) -> pa.Table:
        """The rows of a group that are in the part."""
        return self.choose(group, columns).taken(columns)

    def choose(self, group: RowGroup, columns: Sequence[str]) -> Chosen:
        """All rows of a group, and which of them are in the part."""
        if self._file is None or self._file[0] != group.file:
            self._file = (group.file, _open(self._snapshot, group.file))
        return Chosen(self._file[1].read_row_group(group.number, columns=list(columns)), group.places)

    def apart(self) -> PartReader:
        """The same with an open file of its own, since two threads can't read one."""
        made = copy.copy(self)
        made._file = None
        return made

    def _list(self) -> Iterator[RowGroup]:
        first = 0
        for file in range(len(self._snapshot.manifest.files)):
            metadata = _open(self._snapshot, file).metadata
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                yield RowGroup(file, number, np.flatnonzero(self._parts[first : first + rows] == self._wanted))
                first += rows


@dataclass(frozen=True, slots=True)
class Source:
    """What windows are made of."""

    reader: PartReader
    task: Task
    schema: Schema
    plan: Plan

    def epochs(self, first_epoch: int, skipped: int) -> Iterator[Rows | None]:
        """Windows of an epoch, without its first `skipped` rows, and of all that follow; None ends each epoch."""
        for epoch in range(first_epoch, max(first_epoch + 1, self.plan.epochs)):
            yield from self._windows(epoch, skipped)
            yield None
            skipped = 0

    def _windows(self, epoch: int, skipped: int) -> Iterator[Rows]:
        """Mixed rows, window by window, without the first `skipped` rows of the epoch."""
        seed = mix(self.plan.seed, epoch)
        columns = [feature.name for feature in self.schema.features] + [self.schema.target.name]
        groups = [self.reader.groups[place] for place in shuffled(len(self.reader.groups), seed).tolist()]
        for number, window in enumerate(_windows_of(groups, self.plan.shuffle_rows)):
            count = sum(len(group.places) for group in window)
            if skipped >= count:
                skipped -= count
                continue
            chosen = (self.reader.choose(group, columns) for group in window)
            order = shuffled(count, mix(seed, number + 1))
            yield _part(mixed(self.task, self.schema, chosen, order), skipped, count)  # not kept here by any name
            skipped = 0


class StreamFeed:
    """The training rows of a snapshot, never all at once in memory.

    A thread reads ahead, across the end of an epoch too: its first window is there when the next epoch begins.
    """

    def __init__(self, reader: PartReader, task: Task, schema: Schema, plan: Plan, place: Place) -> None:
        self._source, self._place = Source(reader, task, schema, plan), place
        self._running: tuple[Prefetch, Ahead[Sent | None]] | None = None
        self._next_epoch: int | None = None  # that of the window that `_running` gives next

    @property
    def count(self) -> int:
        """Rows of one epoch."""
        return self._source.reader.count

    def shares(self, epoch: int, first_step: int) -> Iterator[Share]:
        """This process's shares."""
        size = self._source.plan.batch_size
        is_read = self._next_epoch == epoch < self._source.plan.epochs and not first_step
        if self._running is None or not is_read:
            self._begin(epoch, first_step * size)
        assert self._running is not None
        prefetch, ahead = self._running
        self._next_epoch = None
        try:
            yield from _batches(map(prefetch.receive, iter(lambda: next(ahead), None)), size, self._place)
            self._next_epoch = epoch + 1
        finally:
            if self._next_epoch is None:  # left within the epoch
                self.close()

    def close(self) -> None:
        """Read no further ahead; the next call begins anew."""
        if self._running is not None:
            self._running[1].close()
        self._running = None

    def _begin(self, epoch: int, skipped: int) -> None:
        """Read from a row on, and no more from where an earlier call was."""
        self.close()  # the thread before may read a while yet
        prefetch, source = Prefetch(self._place.device), replace(self._source, reader=self._source.reader.apart())

        def sent(rows: Rows | None) -> Sent | None:
            return None if rows is None else prefetch.send(rows)

        self._running = prefetch, Ahead(map(sent, source.epochs(epoch, skipped)))


def _batches(windows: Iterator[Rows], size: int, place: Place) -> Iterator[Share]:
    left: Rows | None = None  # in the order of the epoch, less than a batch
    for rows in windows:
        first = 0
        if left is not None and left.count:  # a batch that begins in one window and ends in the next
            first = min(size - left.count, rows.count)
            left = _joined(left, _part(rows, 0, first))
            if left.count < size:
                continue
            yield from in_order(left, size, place)
        whole = first + (rows.count - first) // size * size
        yield from in_order(_part(rows, first, whole), size, place)
        left = _copied(_part(rows, whole, rows.count))
        del rows  # else it would be held while the next is waited for
    if left is not None and left.count:
        yield from in_order(left, size, place)


def _windows_of(groups: Sequence[RowGroup], least_rows: int) -> Iterator[list[RowGroup]]:
    window: list[RowGroup] = []
    rows = 0
    for group in groups:
        window.append(group)
        rows += len(group.places)
        if rows >= least_rows:
            yield window
            window, rows = [], 0
    if window:
        yield window


def _joined(first: Rows, second: Rows) -> Rows:
    inputs = {name: torch.cat([tensor, second.inputs[name]]) for name, tensor in first.inputs.items()}
    return Rows(inputs, torch.cat([first.target, second.target]))


def _part(rows: Rows, first: int, end: int) -> Rows:
    batch = rows.slice(first, end)
    return Rows(batch.inputs, batch.target)


def _copied(rows: Rows) -> Rows:
    """The same rows, without holding the window that they are a slice of."""
    return Rows({name: tensor.clone() for name, tensor in rows.inputs.items()}, rows.target.clone())


def _deciding_columns(snapshot: Snapshot, project: Project) -> pa.Table:
    """The columns that part the rows; there may be none."""
    named = project.data.time if project.data.split.by == "time" else project.data.key
    return snapshot.table([] if named is None else [named])


def _open(snapshot: Snapshot, file: int) -> pq.ParquetFile:
    return pq.ParquetFile(snapshot.store.open(snapshot.manifest.files[file].object_name))
