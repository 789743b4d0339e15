"""Owns the numbers of rows that batches are padded to, and the padding; it knows no device."""

from __future__ import annotations

from torch import Tensor


def bucket_of(rows: int, most: int) -> int:
    """The smallest power of two that holds `rows`, or `most` where that is less; `rows` itself where none holds it.

    >>> [bucket_of(rows, 100) for rows in (0, 1, 3, 64, 65, 100, 101)]
    [0, 1, 4, 64, 100, 100, 101]
    """
    return min(1 << (rows - 1).bit_length(), most) if 0 < rows <= most else rows


def buckets(most: int) -> tuple[int, ...]:
    """All buckets for up to `most` rows, the largest first.

    >>> buckets(100)
    (100, 64, 32, 16, 8, 4, 2, 1)
    """
    powers = [1 << place for place in range((most - 1).bit_length())]
    return (most, *reversed(powers))


def fill(buffer: Tensor, tensor: Tensor) -> None:
    """Write the rows of `tensor`, one at least, into a longer buffer, and its last row into all that are left.

    A row that the task made itself is always one that it can answer; a row of zeros may not be.
    """
    rows = len(tensor)
    buffer[:rows].copy_(tensor)
    if rows < len(buffer):
        buffer[rows:].copy_(tensor[-1:])


def padded(tensor: Tensor, rows: int) -> Tensor:
    """A copy with `rows` rows, as `fill` leaves them."""
    buffer = tensor.new_empty((rows, *tensor.shape[1:]))
    fill(buffer, tensor)
    return buffer
