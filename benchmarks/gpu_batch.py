"""Finds the batch that fills a device: doubled while rows a second grow and memory lasts; it trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

GROWTH = 1.05  # what a doubled batch must add to the best rate
MEMORY_SHARE = 0.5  # of the device's: the other precisions' weights wait beside the one that is measured


@dataclass(frozen=True, slots=True)
class Tried:
    """What a batch came to; `rows_per_s` is None where memory did not suffice."""

    batch: int
    rows_per_s: float | None
    memory_share: float = 0.0


def next_batch(first: int, most: int, tried: Sequence[Tried]) -> int | None:
    """What to try next; None where the search is over."""
    if not tried:
        return first
    last, before = tried[-1], [one.rows_per_s or 0.0 for one in tried[:-1]]
    has_room = last.rows_per_s is not None and last.memory_share <= MEMORY_SHARE and last.batch * 2 <= most
    grows = not before or (last.rows_per_s or 0.0) >= GROWTH * max(before)
    return last.batch * 2 if has_room and grows else None


def best_batch(tried: Sequence[Tried]) -> Tried | None:
    """The fastest that leaves room; None where not even the first does."""
    fitting = [one for one in tried if one.rows_per_s is not None and one.memory_share <= MEMORY_SHARE]
    return max(fitting, key=lambda one: one.rows_per_s or 0.0, default=None)


def search(first: int, most: int, attempt: Callable[[int], Tried]) -> list[Tried]:
    """All that was tried, in order, up to `most` rows."""
    tried: list[Tried] = []
    while (batch := next_batch(first, most, tried)) is not None:
        tried.append(attempt(batch))
    return tried


def lowered(batch: int, attempt: Callable[[int], Tried]) -> int | None:
    """The batch, halved until it leaves room in a precision that takes more memory; None where none does."""
    while batch and best_batch([attempt(batch)]) is None:
        batch //= 2
    return batch or None
