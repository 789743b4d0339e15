"""Owns the further edges that wide bins get, so that distances along the line stay true; counts nothing."""

from __future__ import annotations

import bisect
import ctypes
import heapq
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .binning import Binning

MIN_VALUES = 256
"""A smaller sample says too little of where its tails end."""
SAMPLE = 16_384
"""Values that are looked at: shares to a hundredth are enough here, and it takes 2 ms."""
MAX_MORE = 192
"""Edges that are added at most; with MAX_BINS there are fewer than twice as many."""
MAX_MORE_QUANTILES = 128
"""The same beside quantile bins, which lie near what there is."""
WINDOW_SHARE = 0.02
"""Share of a window that may fall into one bin while the reference has nearly nothing there."""
TOLERANCE = 0.001
"""In standard deviations: what one bin may be wrong by, its width times the share in it."""
LEAST_GAP = 1 / 128
"""In standard deviations: narrower gaps between two values of a discrete column stay as they are."""

_SMALLEST = float(np.finfo(np.float32).smallest_normal)


def refined(binning: Binning, values_N: NDArray[Any]) -> Binning:
    """Split the bins of the reference's values that are wide for what is in them, or may come to be.

    Quantile bins say where a column's values are many. In its tails and gaps a bin may be wider than the standard
    deviation; values are taken to lie evenly in it, and a distance would be wrong by a part of that. Bins of one
    single value get a bin beside them for what lies in a gap before it.
    """
    part_N = values_N[:: max(1, len(values_N) // SAMPLE)]
    sorted_N = np.sort(part_N[np.isfinite(part_N)]).astype(np.float64)
    if len(sorted_N) < MIN_VALUES or len(binning.edges) < 2:
        return binning
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(sorted_N.std())
    if not 0 < spread < np.inf:
        return binning
    if binning.is_discrete:
        gaps = _gaps(binning, spread)
        more = [high for _, high in gaps]
        more += _middles(gaps, sorted_N, spread, MAX_MORE - len(more))
    else:
        more = _middles(list(zip(binning.edges, binning.edges[1:], strict=False)), sorted_N, spread, MAX_MORE_QUANTILES)
    return replace(binning, edges=tuple(sorted({*binning.edges, *more})))


def _gaps(binning: Binning, spread: float) -> list[tuple[float, float]]:
    """The wide gaps between two values, each from the lower one to just below the upper one."""
    edges = np.asarray(binning.edges)
    widths = np.diff(edges)[1:]  # the first edge is no value
    if not len(widths):
        return []
    usual = max(float(widths.min()), 1.0) if binning.type == "integral" else float(widths.min())
    wide = np.flatnonzero((widths > 1.5 * usual) & (widths > LEAST_GAP * spread))
    found = []
    for place in wide[np.argsort(-widths[wide], kind="stable")][:MAX_MORE]:
        low, value = float(edges[place + 1]), float(edges[place + 2])
        high = float(np.nextafter(np.float32(value), np.float32(-np.inf)))
        if low < high < value and abs(high) >= _SMALLEST:
            found.append((low, high))
    return found


def _middles(bins: list[tuple[float, float]], sorted_N: NDArray[np.float64], spread: float, most: int) -> list[float]:
    """Halve the bin that may be wrong by most, again and again."""

    def entry(low: float, high: float, first: int, last: int) -> tuple[float, float, float, int, int]:
        share = (last - first) / len(values)
        return -(high - low) / spread * (share + WINDOW_SHARE), low, high, first, last

    values = sorted_N.tolist()  # looked up one at a time, where a list is ten times as quick as an array

    def rank(value: float) -> int:
        return bisect.bisect_right(values, value)

    heap = [one for one in (entry(low, high, rank(low), rank(high)) for low, high in bins) if -one[0] > TOLERANCE]
    heapq.heapify(heap)
    found: list[float] = []
    while heap and len(found) < most:
        _, low, high, first, last = heapq.heappop(heap)
        # As a float32, so that a column of that type has the same edge.
        middle = ctypes.c_float(low + (high - low) / 2).value
        if not low < middle < high or abs(middle) < _SMALLEST:
            continue
        found.append(middle)
        between = rank(middle)
        for half in (entry(low, middle, first, between), entry(middle, high, between, last)):
            if -half[0] > TOLERANCE:
                heapq.heappush(heap, half)
    return found
