"""Rows of a snapshot that is larger than memory: row groups in an order of their own for each epoch.

The order comes from (seed, epoch) alone: row groups are drawn, as many as hold `shuffle_rows` are mixed, and batches
are cut from what they give one after the other. Every rank reads all row groups, and makes tensors of its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ...platform.model.schema import Schema
from ...platform.model.task import Batch, Task
from .ahead import Ahead
from .data import Rows, encode_rows
from .feed import Share, is_own, shuffled
from .plan import Place, Plan, mix
from .prefetch import Prefetch, Sent
from .reader import PartReader, RowGroup
from .window import mixed, narrowed


@dataclass(frozen=True, slots=True)
class Source:
    """What windows are made of."""

    reader: PartReader
    task: Task
    schema: Schema
    plan: Plan
    place: Place

    def any_row(self) -> Rows:
        """One row, for a step in which this process has none."""
        return encode_rows(self.task, self.schema, self.reader.first(self.schema.columns, 1)).to(self.place.device)

    def epochs(self, first_epoch: int, skipped: int) -> Iterator[Rows | None]:
        """Windows of an epoch, without its first `skipped` rows, and of all that follow; None ends each epoch."""
        for epoch in range(first_epoch, max(first_epoch + 1, self.plan.epochs)):
            yield from self._windows(epoch, skipped)
            yield None
            skipped = 0

    def _windows(self, epoch: int, skipped: int) -> Iterator[Rows]:
        """This process's rows of each window in which it has some, mixed."""
        seed = mix(self.plan.seed, epoch)
        groups = [self.reader.groups[place] for place in shuffled(len(self.reader.groups), seed).tolist()]
        begin = 0  # the window's first row in the epoch
        for number, window in enumerate(_windows_of(groups, self.plan.shuffle_rows)):
            count = sum(group.count for group in window)
            begin, end = begin + count, begin + count
            if end <= skipped:
                continue
            places = torch.arange(end - count, end)
            order = shuffled(count, mix(seed, number + 1))
            mine = order[(places >= skipped) & is_own(places, self.plan.batch_size, self.place)]
            if len(mine):
                chosen = (self.reader.choose(group, self.schema.columns) for group in window)
                yield mixed(self.task, self.schema, *narrowed(chosen, mine, count))  # not kept here by any name


class StreamFeed:
    """The training rows of a snapshot, never all at once in memory.

    A thread reads ahead, across the end of an epoch too: its first window is there when the next epoch begins.
    """

    def __init__(self, reader: PartReader, task: Task, schema: Schema, plan: Plan, place: Place) -> None:
        self._source = Source(reader, task, schema, plan, place)
        self._running: tuple[Prefetch, Ahead[Sent | None]] | None = None
        self._spare: Rows | None = None
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
            left = self.count - first_step * size
            yield from self._batches(_Own(map(prefetch.receive, iter(lambda: next(ahead), None))), left)
            self._next_epoch = epoch + 1
        finally:
            if self._next_epoch is None:  # left within the epoch
                self.close()

    def close(self) -> None:
        """Read no further ahead; the next call begins anew."""
        if self._running is not None:
            self._running[1].close()
        self._running = None

    def _batches(self, own: _Own, count: int) -> Iterator[Share]:
        """The shares of so many rows of the epoch."""
        size, place = self._source.plan.batch_size, self._source.place
        for first in range(0, count, size):
            of = min(size, count - first)
            mine = len(range(place.rank, of, place.world))
            rows = own.take(mine) if mine else self._any_row()
            yield Share(Batch(rows.inputs, rows.target), mine, of)
        own.end()

    def _any_row(self) -> Rows:
        if self._spare is None:
            self._spare = self._source.any_row()
        return self._spare

    def _begin(self, epoch: int, skipped: int) -> None:
        """Read from a row on, and no more from where an earlier call was."""
        self.close()  # the thread before may read a while yet
        prefetch, source = (
            Prefetch(self._source.place.device),
            replace(self._source, reader=self._source.reader.apart()),
        )

        def sent(rows: Rows | None) -> Sent | None:
            return None if rows is None else prefetch.send(rows)

        self._running = prefetch, Ahead(map(sent, source.epochs(epoch, skipped)))


class _Own:
    """Rows one after the other out of windows; no window is held while the next one is waited for."""

    def __init__(self, windows: Iterator[Rows]) -> None:
        self._windows = windows
        self._rows: Rows | None = None
        self._at = 0

    def take(self, count: int) -> Rows:
        """The next so many rows, as a copy.

        Products of matrices may round otherwise where memory is aligned otherwise, as that of a slice would be when an
        epoch goes on at another row.
        """
        parts: list[Rows] = []
        while count:
            if self._rows is None:
                self._rows, self._at = next(self._windows), 0
            end = min(self._at + count, self._rows.count)
            parts.append(_copied(_part(self._rows, self._at, end)))
            count, self._at = count - (end - self._at), end
            if end == self._rows.count:
                self._rows = None
        return parts[0] if len(parts) == 1 else _joined(parts)

    def end(self) -> None:
        """Read what ends the epoch; no row is left."""
        assert self._rows is None
        assert next(self._windows, None) is None


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


def _joined(parts: Sequence[Rows]) -> Rows:
    inputs = {name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs}
    return Rows(inputs, torch.cat([part.target for part in parts]))


def _part(rows: Rows, first: int, end: int) -> Rows:
    batch = rows.slice(first, end)
    return Rows(batch.inputs, batch.target)


def _copied(rows: Rows) -> Rows:
    """The same rows, without holding the window that they are a slice of."""
    return Rows({name: tensor.clone() for name, tensor in rows.inputs.items()}, rows.target.clone())
