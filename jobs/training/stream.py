"""Rows of a snapshot that is larger than memory: row groups in an order of their own for each epoch.

The order comes from (seed, epoch) alone: row groups are drawn, as many as hold `shuffle_rows` are mixed, and batches
are cut from what they give one after the other. Every rank reads all of them and keeps its share of each batch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from .data import Rows
from .feed import Share, in_order, shuffled
from .plan import Place, Plan, mix
from .prefetch import Prefetch, Sent
from .window import Chosen, mixed

AHEAD = 1  # windows read ahead of the one that is trained on: each takes its memory


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

    def _list(self) -> Iterator[RowGroup]:
        first = 0
        for file in range(len(self._snapshot.manifest.files)):
            metadata = _open(self._snapshot, file).metadata
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                yield RowGroup(file, number, np.flatnonzero(self._parts[first : first + rows] == self._wanted))
                first += rows


class StreamFeed:
    """The training rows of a snapshot, never all at once in memory."""

    def __init__(self, reader: PartReader, task: Task, schema: Schema, plan: Plan, place: Place) -> None:
        self._reader, self._task, self._schema, self._plan, self._place = reader, task, schema, plan, place
        self._columns = [feature.name for feature in schema.features] + [schema.target.name]

    @property
    def count(self) -> int:
        """Rows of one epoch."""
        return self._reader.count

    def shares(self, epoch: int, first_step: int) -> Iterator[Share]:
        """This process's shares; a thread reads the next rows meanwhile."""
        size = self._plan.batch_size
        prefetch = Prefetch(self._place.device)
        left: Rows | None = None  # in the order of the epoch, less than a batch
        for sent in _ahead(map(prefetch.send, self._windows(epoch, first_step * size))):
            rows = prefetch.receive(sent)
            first = 0
            if left is not None and left.count:  # a batch that begins in one window and ends in the next
                first = min(size - left.count, rows.count)
                left = _joined(left, _part(rows, 0, first))
                if left.count < size:
                    continue
                yield from in_order(left, size, self._place)
            whole = first + (rows.count - first) // size * size
            yield from in_order(_part(rows, first, whole), size, self._place)
            left = _copied(_part(rows, whole, rows.count))
        if left is not None and left.count:
            yield from in_order(left, size, self._place)

    def _windows(self, epoch: int, skipped: int) -> Iterator[Rows]:
        """Mixed rows, window by window, without the first `skipped` rows of the epoch."""
        seed = mix(self._plan.seed, epoch)
        groups = [self._reader.groups[place] for place in shuffled(len(self._reader.groups), seed).tolist()]
        for number, window in enumerate(_windows_of(groups, self._plan.shuffle_rows)):
            count = sum(len(group.places) for group in window)
            if skipped >= count:
                skipped -= count
                continue
            chosen = (self._reader.choose(group, self._columns) for group in window)
            rows = mixed(self._task, self._schema, chosen, shuffled(count, mix(seed, number + 1)))
            yield _part(rows, skipped, count)
            skipped = 0


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


def _ahead(windows: Iterator[Sent]) -> Iterator[Sent]:
    """The same, made by a thread; it ends when the caller no longer asks."""
    made: queue.Queue[Sent | BaseException | None] = queue.Queue(AHEAD)
    is_over = threading.Event()

    def put(entry: Sent | BaseException | None) -> None:
        while not is_over.is_set():
            try:
                made.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for sent in windows:
                put(sent)
                if is_over.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (entry := made.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry
    finally:
        is_over.set()


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
