"""Owns the further edges that wide bins get, so that distances along the line stay true; counts nothing."""

from __future__ import annotations

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
WINDOW_SHARE = 0.02
"""Share of a window that may fall into one bin while the reference has nearly nothing there."""
TOLERANCE = 0.0005
"""In standard deviations: what one bin may be wrong by, its width times the share in it."""
LEAST_GAP = 1 / 128
"""In standard deviations: narrower gaps between two values of a discrete column stay as they are."""


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
    more = _before_values(binning, spread) if binning.is_discrete else _middles(binning, sorted_N, spread)
    return replace(binning, edges=tuple(sorted({*binning.edges, *more})))


def _before_values(binning: Binning, spread: float) -> list[float]:
    edges = np.asarray(binning.edges)
    gaps = np.diff(edges)[1:]  # the first edge is no value
    if not len(gaps):
        return []
    usual = max(float(gaps.min()), 1.0) if binning.type == "integral" else float(gaps.min())
    wide = np.flatnonzero((gaps > 1.5 * usual) & (gaps > LEAST_GAP * spread)) + 2
    found = []
    for place in wide[np.argsort(-gaps[wide - 2], kind="stable")][:MAX_MORE]:
        edge = float(np.nextafter(np.float32(edges[place]), np.float32(-np.inf)))
        if edges[place - 1] < edge < edges[place] and abs(edge) >= float(np.finfo(np.float32).smallest_normal):
            found.append(edge)
    return found


def _middles(binning: Binning, sorted_N: NDArray[np.float64], spread: float) -> list[float]:
    edges = np.asarray(binning.edges)
    ranks = np.searchsorted(sorted_N, edges, side="right")

    def entry(low: float, high: float, first: int, last: int) -> tuple[float, float, float, int, int]:
        share = (last - first) / len(sorted_N)
        return -(high - low) / spread * (share + WINDOW_SHARE), low, high, first, last

    parts = zip(edges.tolist(), edges[1:].tolist(), ranks.tolist(), ranks[1:].tolist(), strict=False)
    heap = [one for one in (entry(*part) for part in parts) if -one[0] > TOLERANCE]
    heapq.heapify(heap)
    found: list[float] = []
    while heap and len(found) < MAX_MORE:
        _, low, high, first, last = heapq.heappop(heap)
        # As a float32, so that a column of that type has the same edge.
        middle = float(np.float32(low + (high - low) / 2))
        if not low < middle < high or abs(middle) < float(np.finfo(np.float32).smallest_normal):
            continue
        found.append(middle)
        rank = int(np.searchsorted(sorted_N, middle, side="right"))
        for half in (entry(low, middle, first, rank), entry(middle, high, rank, last)):
            if -half[0] > TOLERANCE:
                heapq.heappush(heap, half)
    return found
