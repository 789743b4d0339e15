"""Owns the grid of windows: which spans of time are measured, and which is the one that a moment lies in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..traffic.captured import Window

MOST_WINDOWS = 1_000


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows of one width, side by side; number 0 begins at `anchor_s`, and earlier ones have numbers below 0."""

    anchor_s: float
    width_s: float

    def window(self, number: int) -> Window:
        """The span of a window."""
        return Window(self.anchor_s + number * self.width_s, self.anchor_s + (number + 1) * self.width_s)

    def number_of(self, at_s: float) -> int:
        """The window that a moment lies in."""
        return math.floor((at_s - self.anchor_s) / self.width_s)

    def numbers_of(self, time_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """The windows that moments, in microseconds, lie in; whole numbers, so that none falls beside its window."""
        found: NDArray[np.int64] = (time_N - round(self.anchor_s * 1e6)) // round(self.width_s * 1e6)
        return found


def lay_windows(since_s: float | None, until_s: float, width_s: float, default: int) -> tuple[Grid, range]:
    """The windows from `since_s` on that begin before `until_s`, or else the last `default` ones.

    Without a beginning, windows lie on multiples of their width, so that a later look sees the same ones.

    >>> grid, numbers = lay_windows(None, 7_300.0, 3_600.0, default=2)
    >>> [grid.window(number).since_s for number in numbers]
    [3600.0, 7200.0]
    """
    if since_s is None:
        last = math.floor(until_s / width_s)
        grid, count = Grid((last - default + 1) * width_s, width_s), default
    else:
        if until_s <= since_s:
            raise InvalidInput(f"--until {until_s:.0f} must lie after --since {since_s:.0f}")
        grid, count = Grid(since_s, width_s), math.ceil((until_s - since_s) / width_s)
    if count > MOST_WINDOWS:
        raise InvalidInput(
            f"{count} windows of {width_s / 60:g} minutes are asked for, and {MOST_WINDOWS} are the most"
        )
    return grid, range(count)
