"""Owns how two distributions of one column are merged into the few bars that are drawn; it draws nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..stats import Binning, ColumnProfile

# E = edges, B = bins, S = sides: the reference, the window

MAX_BARS = 40
MAX_NAMED = 15
MIN_NAMED_ROWS = 5
"""A text that fewer rows hold on both sides is not named: it may be a row's own, such as a name."""
MAX_UNSEEN = 5
MAX_LABEL_CHARS = 80
STRETCH_GAIN_BITS = 1.0
"""An axis is stretched only where the bars tell by so much more than on a plain one."""

Draw = Literal["density", "values", "categories"]
Place = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows of both sides on the same bars. Bars and what is apart add up to each side's rows."""

    draw: Draw
    """density: between two edges; values: one number a bar; categories: one text a bar."""
    reference: tuple[int, ...]
    window: tuple[int, ...]
    apart: Mapping[str, tuple[int, int]]
    """Rows of (reference, window) without a bar: -inf, under, over, +inf, null, nan; or rest, other, null."""
    edges: tuple[float, ...] = ()
    """density: one more than bars, rounded to what can be seen; values: one each."""
    positions: tuple[float, ...] = ()
    """density: where each edge is drawn, from 0 to 1."""
    is_stretched: bool = False
    """density: true where positions are not in proportion, since a plain axis would hide most of it."""
    labels: tuple[str, ...] = ()
    """categories: their texts, cut at MAX_LABEL_CHARS."""
    unseen: Mapping[str, int] = field(default_factory=dict)
    """Texts of the window that are no category of the reference: the most frequent, with rows at least."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is empty is left out, but for the counts."""
        found: dict[str, Any] = {"draw": self.draw, "reference": list(self.reference), "window": list(self.window)}
        found["apart"] = {name: list(pair) for name, pair in self.apart.items()}
        for name in ("edges", "positions", "labels"):
            if values := getattr(self, name):
                found[name] = list(values)
        if self.is_stretched:
            found["stretched"] = True
        return found | ({"unseen": dict(self.unseen)} if self.unseen else {})


def shape_of(reference: ColumnProfile, window: ColumnProfile) -> Shape:
    """Merge two profiles on the same bins into at most MAX_BARS bars, or MAX_NAMED categories."""
    counts_SB = np.stack([reference.counts, window.counts])
    if reference.binning.is_ordered:
        return _ordered(reference.binning, counts_SB, reference.min)
    return _categories(reference.binning, counts_SB, window)


def _apart(counts_SB: NDArray[np.int64], places: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    pairs = {name: (int(counts_SB[0, place]), int(counts_SB[1, place])) for name, place in places.items()}
    return {name: pair for name, pair in pairs.items() if any(pair)}


def _ordered(binning: Binning, counts_SB: NDArray[np.int64], lowest: float | None) -> Shape:
    first, end = binning.first_bin, binning.first_bin + binning.num_bins
    places = {"-inf": 0, "under": 1, "over": end, "+inf": end + 1, "null": end + 2, "nan": end + 3}
    apart, bars_SB = _apart(counts_SB, places), counts_SB[:, first:end]
    edges_E = np.array(binning.edges)
    # Exact bins have an empty one between any two values.
    filled_B = np.flatnonzero(bars_SB.any(axis=0))
    if binning.is_discrete and len(filled_B) <= MAX_BARS:
        bars_SB, edges_E = bars_SB[:, filled_B], edges_E[1:][filled_B]
        return Shape("values", *_sides(bars_SB), apart, edges=tuple(edges_E.tolist()))
    if not binning.num_bins:
        return Shape("values", (), (), apart)
    if lowest is not None:
        edges_E[0] = max(edges_E[0], min(lowest, edges_E[1]))  # it lies below the lowest value, by up to 1e-7 of it
    places_E, is_stretched = _axis(edges_E, bars_SB)
    kept = _merged(places_E)
    merged_SB = np.add.reduceat(bars_SB, kept[:-1], axis=1)
    positions = tuple(round(place, 4) for place in places_E[kept].tolist())
    return Shape("density", *_sides(merged_SB), apart, _brief(edges_E[kept]), positions, is_stretched)


def _sides(bars_SB: NDArray[np.int64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(bars_SB[0].tolist()), tuple(bars_SB[1].tolist())


def _axis(edges_E: NDArray[np.float64], bars_SB: NDArray[np.int64]) -> tuple[NDArray[np.float64], bool]:
    """Place the edges on [0, 1]: in proportion, unless a stretched axis tells much more."""
    shares_SB = bars_SB / np.maximum(bars_SB.sum(axis=1, keepdims=True), 1)
    mass_B = shares_SB.sum(axis=0)
    plain_E = _unit(edges_E / np.abs(edges_E).max())
    best_E, best_bits = plain_E, _bits(plain_E, mass_B) + STRETCH_GAIN_BITS
    for stretch in _stretches(edges_E, mass_B):
        places_E = _unit(stretch(edges_E))
        if np.isfinite(places_E).all() and (bits := _bits(places_E, mass_B)) > best_bits:
            best_E, best_bits = places_E, bits
    return best_E, best_E is not plain_E


def _stretches(edges_E: NDArray[np.float64], mass_B: NDArray[np.float64]) -> Iterator[Place]:
    """Axes for long tails: logarithmic, or near it on both sides of zero or of the median."""
    if edges_E[0] > 0:
        yield np.log
    if not mass_B.any():
        return
    share_B = np.cumsum(mass_B) / mass_B.sum()
    quarter, middle, three = (float(edges_E[1:][np.searchsorted(share_B, part)]) for part in (0.25, 0.5, 0.75))
    sizes_E = np.abs(edges_E[1:])
    for centre, scale in ((0.0, float(np.quantile(sizes_E, 0.25))), (middle, (three - quarter) / 2)):
        if scale > 0 and math.isfinite(scale):
            yield partial(_bent, centre=centre, scale=scale)


def _bent(values_E: NDArray[np.float64], centre: float, scale: float) -> NDArray[np.float64]:
    return np.asarray(np.arcsinh((values_E - centre) / scale))


def _unit(places_E: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray((places_E - places_E[0]) / (places_E[-1] - places_E[0]))


def _bits(places_E: NDArray[np.float64], mass_B: NDArray[np.float64]) -> float:
    """Entropy of the mass over the bars that an axis would give: how much the picture tells."""
    if not np.isfinite(places_E).all() or not mass_B.any():
        return 0.0
    merged_B = np.add.reduceat(mass_B, _merged(places_E)[:-1])
    share_B = merged_B[merged_B > 0] / mass_B.sum()
    return float(-np.sum(share_B * np.log2(share_B)))


def _merged(places_E: NDArray[np.float64]) -> list[int]:
    """Keep edges at least 1 / MAX_BARS apart: a bin of one single value would be a bar without a width."""
    step, last = (1 - 1e-9) / MAX_BARS, len(places_E) - 1
    kept = [0]
    while True:
        following = int(np.searchsorted(places_E, places_E[kept[-1]] + step))
        if following > last:
            break
        kept.append(following)
    if kept[-1] != last:  # what remains is too narrow for a bar of its own
        kept[max(len(kept) - 1, 1) :] = [last]
    return kept


def _brief(edges_E: NDArray[np.float64]) -> tuple[float, ...]:
    """Round edges to as few digits as leave every bar's width right to a fiftieth."""
    values = edges_E.tolist()
    gap = min(high - low for low, high in pairwise(values))
    for digits in (5, 7, 9, 12, 15):
        rounded = [float(f"{value:.{digits}g}") for value in values]
        if all(abs(brief - value) <= gap / 50 for brief, value in zip(rounded, values, strict=True)):
            return tuple(rounded)
    return tuple(values)


def _categories(binning: Binning, counts_SB: NDArray[np.int64], window: ColumnProfile) -> Shape:
    known = binning.num_bins
    shares_SB = counts_SB[:, :known] / np.maximum(counts_SB.sum(axis=1, keepdims=True), 1)
    # What is large on either side: a category that came up in the window matters as much as one that went.
    largest = np.argsort(-shares_SB.sum(axis=0), kind="stable")[:MAX_NAMED]
    is_named_B = np.zeros(known, np.bool_)
    is_named_B[largest] = True
    is_named_B &= counts_SB[:, :known].max(axis=0, initial=0) >= MIN_NAMED_ROWS
    named = np.flatnonzero(is_named_B)
    rest = counts_SB[:, :known][:, ~is_named_B].sum(axis=1).tolist()
    apart = _apart(counts_SB, {"other": known, "null": known + 1})
    labels = tuple(binning.categories[place][:MAX_LABEL_CHARS] for place in named)
    return Shape(
        "categories",
        *_sides(counts_SB[:, named]),
        ({"rest": (rest[0], rest[1])} if any(rest) else {}) | apart,
        labels=labels,
        unseen=_unseen(window),
    )


def _unseen(window: ColumnProfile) -> dict[str, int]:
    frequent = [(text, count) for text, count in window.unseen.counts.items() if count >= MIN_NAMED_ROWS]
    return {text[:MAX_LABEL_CHARS]: count for text, count in frequent[:MAX_UNSEEN]}
