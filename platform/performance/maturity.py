"""How late labels come: the share of predictions that have theirs after a time, from past windows.

A prediction without a label is one whose label may still come. So the curve is that of Kaplan and Meier (1958), where
such a prediction counts as seen up to its age and no longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# D = bins of delay: bin 0 is below a second, each next one ends about a sixth later
EDGES_D = np.concatenate([[0.0], np.geomspace(1.0, 400 * 86_400.0, 120)])
_POINTS = 25
MIN_AT_RISK = 30  # below it the curve may hang on too few predictions


@dataclass(frozen=True, slots=True, eq=False)
class Delays:
    """Counts of predictions by the delay of their label, and of those without one by their age; they add."""

    came_D: NDArray[np.int64]
    waiting_D: NDArray[np.int64]

    @classmethod
    def none(cls) -> Delays:
        """Of no prediction."""
        return cls(np.zeros(len(EDGES_D), np.int64), np.zeros(len(EDGES_D), np.int64))

    @classmethod
    def count(cls, delay_s_N: NDArray[np.float64], age_s_N: NDArray[np.float64]) -> Delays:
        """Count predictions: the delay of each one's first label, NaN where none came, and its age now."""
        came = ~np.isnan(delay_s_N)
        return cls(_binned(delay_s_N[came]), _binned(age_s_N[~came]))

    def __add__(self, other: Delays) -> Delays:
        return Delays(self.came_D + other.came_D, self.waiting_D + other.waiting_D)

    def __sub__(self, other: Delays) -> Delays:
        return Delays(self.came_D - other.came_D, self.waiting_D - other.waiting_D)

    @property
    def total(self) -> int:
        """How many predictions were counted."""
        return int(self.came_D.sum() + self.waiting_D.sum())

    def curve(self) -> Curve:
        """The share of predictions that have a label after each delay."""
        at_risk_D = np.cumsum((self.came_D + self.waiting_D)[::-1])[::-1]
        share_D, without = np.zeros(len(EDGES_D)), 1.0
        for place, (came, at_risk) in enumerate(zip(self.came_D, at_risk_D, strict=True)):
            # Of those without a label few are old enough to be seen here: what they do says little of the others.
            is_believed = at_risk >= min(MIN_AT_RISK, 0.5 * without * self.total)
            without *= 1.0 - came / at_risk if at_risk and is_believed else 1.0
            share_D[place] = 1.0 - without
        return Curve(share_D)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The share of predictions whose label came within the end of each bin of delay; it never falls."""

    share_D: NDArray[np.float64]

    @property
    def promise(self) -> float:
        """The share of predictions that get a label in the end."""
        return float(self.share_D[-1])

    def at(self, age_s: float) -> float:
        """The share that has its label at an age, by the bins that have ended by then."""
        ended = int(np.searchsorted(EDGES_D, max(age_s, 0.0), side="right")) - 1
        return float(self.share_D[ended - 1]) if ended > 0 else 0.0

    def over(self, oldest_s: float, youngest_s: float) -> float:
        """The same of predictions whose ages lie evenly between two; those that are still to come are left out."""
        ages = np.linspace(youngest_s, oldest_s, 2 * _POINTS + 1)[1::2]
        return float(np.mean([self.at(age) for age in ages if age > 0] or [0.0]))

    def delay_s(self, share: float) -> float | None:
        """The delay within which this share of the labels that ever come has come; None where none do."""
        if self.promise <= 0:
            return None
        place = int(np.searchsorted(self.share_D, share * self.promise))
        return float(EDGES_D[min(place + 1, len(EDGES_D) - 1)])


def _binned(seconds_N: NDArray[np.float64]) -> NDArray[np.int64]:
    places_N = np.searchsorted(EDGES_D, np.maximum(seconds_N, 0.0), side="right") - 1
    return np.bincount(places_N, minlength=len(EDGES_D)).astype(np.int64)
