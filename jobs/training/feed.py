"""Which rows a process gets in which step, as the seed decides it; it trains nothing and reads no file.

Rank r of W takes every W-th row of each batch, so the rows of a step are the same whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...platform.model.task import Batch
from .data import Rows
from .plan import Place, mix

# Rows gathered at once: one gather for several batches costs less than one each, and they stay in the cache.
CHUNK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of a step's batch."""

    batch: Batch
    rows: int
    """Rows of this process; 0 where the batch has none for it, and `batch` then holds one that must not count."""
    of: int
    """Rows of the whole batch."""


class Feed(Protocol):
    """The rows of an epoch, batch by batch."""

    @property
    def count(self) -> int:
        """Rows of one epoch, over all processes."""
        ...

    def shares(self, epoch: int, first_step: int) -> Iterator[Share]:
        """This process's shares from a step of an epoch on, both counted from 0."""
        ...


class MemoryFeed:
    """All rows in memory, in an order of their own for each epoch."""

    def __init__(self, rows: Rows, batch_size: int, seed: int, place: Place) -> None:
        self._rows, self._batch_size, self._seed, self._place = rows, batch_size, seed, place

    @property
    def count(self) -> int:
        """Rows of one epoch."""
        return self._rows.count

    def shares(self, epoch: int, first_step: int) -> Iterator[Share]:
        """This process's shares; the order comes from (seed, epoch) alone."""
        order = shuffled(self._rows.count, mix(self._seed, epoch))
        return cut(self._rows, order[first_step * self._batch_size :], self._batch_size, self._place)


def shuffled(rows: int, seed: int) -> Tensor:
    """The numbers below `rows` in the order of a seed."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))


def is_own(places: Tensor, batch_size: int, place: Place) -> Tensor:
    """Whether rows at some places of an epoch are this process's: those that `cut` gives it."""
    return places % batch_size % place.world == place.rank


def cut(rows: Rows, order: Tensor, batch_size: int, place: Place) -> Iterator[Share]:
    """The shares of a process in batches of `order`; the last may be short."""
    order = order.to(rows.target.device)  # at once: each copy to a GPU waits for what it computes
    whole = len(order) // batch_size
    mine_BM = order[: whole * batch_size].view(whole, batch_size)[:, place.rank :: place.world]
    size = mine_BM.shape[1]
    if size == 0:  # more processes than rows in a batch
        yield from (_nothing(rows, order, batch_size) for _ in range(whole))
    else:
        at_once = max(1, CHUNK_ROWS // size)
        for first in range(0, whole, at_once):
            chunk = rows.take(mine_BM[first : first + at_once].reshape(-1))
            for begin in range(0, len(chunk.target), size):
                inputs = {name: tensor[begin : begin + size] for name, tensor in chunk.inputs.items()}
                yield Share(Batch(inputs, chunk.target[begin : begin + size]), size, batch_size)
    rest = order[whole * batch_size :]
    if len(rest):
        mine = rest[place.rank :: place.world]
        if len(mine):
            yield Share(rows.take(mine), len(mine), len(rest))
        else:
            yield _nothing(rows, rest, len(rest))


def _nothing(rows: Rows, order: Tensor, of: int) -> Share:
    return Share(rows.take(order[:1]), 0, of)
