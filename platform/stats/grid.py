"""Owns the look-up grid over a binning's edges: a value's cell says its bin, or nearly; counts nothing.

A value's cell is found by arithmetic that never falls as the value grows. So every edge in a lower cell lies
below the value, and only the edges within its own cell are compared with it. Three grids are tried, and the one
whose fullest cell holds the fewest edges is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# E = edges, G = cells

CELLS = 4_096
"""16-bit places of so many cells take 8 KiB, a quarter of the smallest level-1 cache."""

BY_VALUE, BY_PATTERN, AROUND = range(3)
"""Equal steps of the value; of its floating-point pattern, for tails to one side; of the pattern of its distance
from the middle, for tails to both."""

_BITS_OF_ONE = 0x3FF0000000000000


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where to look a value up. Made for one floating-point type, and right for that one alone."""

    how: int
    edges_E: NDArray[np.floating]
    """The edges, and infinity, so that a look beyond the last one is a look at a number."""
    places_G: NDArray[np.uint16]
    """How many edges lie in lower cells; one more entry than there are cells."""
    low: np.floating
    """BY_VALUE: where the first cell begins; AROUND: the middle."""
    scale: np.floating
    """BY_VALUE: cells by unit of value; AROUND: one by the middle half's width."""
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(5, np.uint64))
    """Shift, lowest and highest key; then the sign bit and all bits, for BY_PATTERN."""

    @property
    def most_in_cell(self) -> int:
        """The most edges that one cell holds."""
        return int(np.diff(self.places_G.astype(np.int64)).max())


def make_grid(edges_E: NDArray[np.floating]) -> Grid:
    """Choose the grid with the fewest edges in its fullest cell."""
    made = [grid for grid in (_by_value(edges_E), _by_pattern(edges_E), _around(edges_E)) if grid is not None]
    return min(made, key=lambda grid: grid.most_in_cell)


def _by_value(edges_E: NDArray[np.floating]) -> Grid | None:
    kind = edges_E.dtype.type
    low, high = edges_E[0], edges_E[-1]
    with np.errstate(over="ignore"):
        span = kind(high - low)
        # Without a span the scale would be 0, and 0 times a difference that overflowed is no cell at all.
        scale = kind(CELLS) / span if span > 0 else kind(np.inf)
    # A quarter of the type's range, so that no difference overflows.
    if not np.isfinite(scale) or span > np.finfo(kind).max / 4 or abs(low) > np.finfo(kind).max / 4:
        return None
    cells_E = np.clip((edges_E - low) * scale, 0, CELLS - 1).astype(np.int64)
    return _grid(BY_VALUE, edges_E, cells_E, low, scale)


def _by_pattern(edges_E: NDArray[np.floating]) -> Grid:
    width = 8 * edges_E.dtype.itemsize
    top, full = 1 << (width - 1), (1 << width) - 1
    bits_E = edges_E.view(np.uint64 if width == 64 else np.uint32).astype(np.uint64)
    # Patterns of floats, so turned, order as the values do; -0 comes just before 0.
    keys_E = bits_E ^ np.where(bits_E & np.uint64(top), np.uint64(full), np.uint64(top))
    first, last = int(keys_E[0]), int(keys_E[-1])
    shift = _shift(last - first)
    cells_E = ((keys_E - np.uint64(first)) >> np.uint64(shift)).astype(np.int64)
    zero = edges_E.dtype.type(0)
    return _grid(BY_PATTERN, edges_E, cells_E, zero, zero, np.array([shift, first, last, top, full], np.uint64))


def _around(edges_E: NDArray[np.floating]) -> Grid | None:
    wide_E = edges_E.astype(np.float64)
    if np.abs(wide_E).max() > np.finfo(np.float64).max / 4:
        return None
    quarter, middle, other = (wide_E[len(wide_E) * part // 4] for part in (1, 2, 3))
    if not other - quarter > np.finfo(np.float64).tiny:
        return None
    scale = np.float64(1) / (other - quarter)
    with np.errstate(over="ignore"):
        apart_E = np.abs((wide_E - middle) * scale) + 1
    keys_E = apart_E.view(np.int64) - _BITS_OF_ONE
    keys_E = np.where(wide_E < middle, -keys_E, keys_E)
    first, last = int(keys_E[0]), int(keys_E[-1])
    shift = _shift(last - first)
    keys = np.array([shift, first, last, 0, 0], np.int64).view(np.uint64)
    return _grid(AROUND, edges_E, (keys_E - first) >> shift, middle, scale, keys)


def _shift(span: int) -> int:
    return max(span.bit_length() - (CELLS.bit_length() - 1), 0)


def _grid(
    how: int,
    edges_E: NDArray[np.floating],
    cells_E: NDArray[np.int64],
    low: np.floating,
    scale: np.floating,
    keys: NDArray[np.uint64] | None = None,
) -> Grid:
    places_G = np.concatenate([[0], np.cumsum(np.bincount(cells_E, minlength=CELLS))]).astype(np.uint16)
    padded_E = np.append(edges_E, edges_E.dtype.type(np.inf))
    return Grid(how, padded_E, places_G, low, scale, np.zeros(5, np.uint64) if keys is None else keys)
