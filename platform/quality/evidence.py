"""Owns what a column's profile proves: how many values surely break a rule; it knows no limits.

A histogram does not show single values, so each count is the least that the bins and the range prove: it can be too
low, and not too high. Where each bin of the reference is one single value, a bin stands for its upper edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..stats import ColumnProfile
from ..stats.distinct import STANDARD_ERROR

SKETCH_ERRORS = 5
"""Standard errors by which the distinct sketch may be off: once in two million."""


def below(column: ColumnProfile, bound: float) -> int:
    """Finite values that surely lie below a bound."""
    tops = np.asarray(column.binning.edges)
    sure = int(column.counts[1 : len(tops) + 1][tops < bound].sum())
    return max(sure, int(column.min is not None and column.min < bound))


def above(column: ColumnProfile, bound: float) -> int:
    """Finite values that surely lie above a bound."""
    edges = np.asarray(column.binning.edges)
    is_above = edges >= bound  # of the bin, or of over, that begins at the edge
    if column.binning.is_discrete:
        is_above[:-1] |= ~_is_gap(edges) & (edges[1:] > bound)
    sure = int(column.counts[2 : len(edges) + 2][is_above].sum())
    return max(sure, int(column.max is not None and column.max > bound))


def _is_gap(edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which bins of a discrete column lie between two of its values: they end just below the next one's."""
    below_next = np.nextafter(edges.astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    return np.append(edges[1:-1] == below_next[2:], False)[: len(edges) - 1]


def fractions(column: ColumnProfile) -> int:
    """Finite values that surely are no whole numbers: those of bins without one, and the ends of the range."""
    ends = [end for end in (column.min, column.max) if end is not None]
    edges = np.asarray(column.binning.edges)
    has_none = np.floor(edges[1:]) <= edges[:-1]
    sure = int(column.counts[2 : 2 + column.binning.num_bins][has_none].sum())
    return max(sure, int(any(end != int(end) for end in ends)))


def texts(column: ColumnProfile) -> dict[str, int]:
    """The texts whose number is known, or known to be at least that."""
    counted = dict(zip(column.binning.categories, column.counts.tolist(), strict=False))
    for text, count in column.unseen.counts.items():
        counted[text] = counted.get(text, 0) + count
    return {text: count for text, count in counted.items() if count}


def unknown_texts(column: ColumnProfile, domain: frozenset[str]) -> tuple[int, dict[str, int]]:
    """How many texts surely lie outside a domain, and the most frequent of them."""
    found = {text: count for text, count in texts(column).items() if text not in domain}
    # Of the others all count but those that may be known: a summary's counts are below the truth by its error at most.
    known = [count + column.unseen.error for text, count in column.unseen.counts.items() if text in domain]
    binned = sum(count for text, count in found.items() if text not in column.unseen.counts)
    total = max(binned + column.other - sum(known), sum(found.values()))
    return total, dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def duplicates(column: ColumnProfile) -> int:
    """Values that surely repeat another one."""
    if column.binning.is_ordered:
        values, repeated = column.moments.count, 0
    else:
        values, repeated = column.values, sum(count - 1 for count in texts(column).values())
    distinct = column.distinct.estimate
    if not column.distinct.is_exact:
        distinct *= 1 + SKETCH_ERRORS * STANDARD_ERROR
    return max(repeated, int(values - distinct), 0)


def is_constant(column: ColumnProfile) -> bool:
    """True where all values are one."""
    return column.distinct.estimate == 1 and not column.infs
