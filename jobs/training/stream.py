"""Rows of a snapshot that is larger than memory: row groups in an order of their own for each epoch.

The order comes from (seed, epoch) alone: row groups are drawn, as many as hold `shuffle_rows` are mixed, and batches
are cut from what they give one after the other. Every rank reads all of them and keeps its share of each batch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

import pyarrow as pa
import torch

from ...platform.model.schema import Schema
from ...platform.model.task import Task
from .data import Rows, encode_rows
from .feed import Share, cut, shuffled
from .plan import Place, Plan, mix
from .reader import PartReader, RowGroup

AHEAD = 1  # windows read ahead of the one that is trained on: each takes its memory


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
        left: Rows | None = None  # in the order of the epoch, less than a batch
        for rows in _ahead(self._windows(epoch, first_step * size)):
            joined = rows if left is None else _joined(left, rows)
            whole = joined.count // size * size
            yield from cut(joined, torch.arange(whole), size, self._place)
            left = _kept(joined, whole)
        if left is not None and left.count:
            yield from cut(left, torch.arange(left.count), size, self._place)

    def _windows(self, epoch: int, skipped: int) -> Iterator[Rows]:
        """Mixed rows, window by window, without the first `skipped` rows of the epoch."""
        seed = mix(self._plan.seed, epoch)
        groups = [self._reader.groups[place] for place in shuffled(len(self._reader.groups), seed).tolist()]
        for number, window in enumerate(_windows_of(groups, self._plan.shuffle_rows)):
            count = sum(group.count for group in window)
            if skipped >= count:
                skipped -= count
                continue
            table = pa.concat_tables([self._reader.read(group, self._columns) for group in window])
            rows = encode_rows(self._task, self._schema, table)
            del table
            batch = rows.take(shuffled(count, mix(seed, number + 1))[skipped:])
            yield Rows(batch.inputs, batch.target).to(self._place.device)
            skipped = 0


def _windows_of(groups: Sequence[RowGroup], least_rows: int) -> Iterator[list[RowGroup]]:
    window: list[RowGroup] = []
    rows = 0
    for group in groups:
        window.append(group)
        rows += group.count
        if rows >= least_rows:
            yield window
            window, rows = [], 0
    if window:
        yield window


def _ahead(windows: Iterator[Rows]) -> Iterator[Rows]:
    """The same, made by a thread; it ends when the caller no longer asks."""
    made: queue.Queue[Rows | BaseException | None] = queue.Queue(AHEAD)
    is_over = threading.Event()

    def put(entry: Rows | BaseException | None) -> None:
        while not is_over.is_set():
            try:
                made.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for rows in windows:
                put(rows)
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
    if not first.count:
        return second
    inputs = {name: torch.cat([tensor, second.inputs[name]]) for name, tensor in first.inputs.items()}
    return Rows(inputs, torch.cat([first.target, second.target]))


def _kept(rows: Rows, first: int) -> Rows:
    """The rows from one on, copied: a slice would hold the whole window."""
    batch = rows.slice(first, rows.count)
    return Rows({name: tensor.clone() for name, tensor in batch.inputs.items()}, batch.target.clone())
