"""Runs river's drift detectors over errors in the order of time, and says where each one fired.

ADWIN and Page-Hinkley read every error in under a microsecond; KSWIN makes a Kolmogorov-Smirnov test at each, 0.2 ms,
so it is given the newest ones alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .outcomes import Floats, Ints

KSWIN_ERRORS = 20_000
_SCALE_ROWS = 200
_LAST = 30

# N = errors, oldest first


@dataclass(frozen=True, slots=True)
class Alarm:
    """One detector found that the errors changed: at the error number `index`, of a prediction at `at_s`."""

    detector: str
    index: int
    at_s: float
    rose: bool
    """Whether the last errors before it are larger than those since the alarm before."""


def find_alarms(error_N: Floats, time_N: Ints, *, kswin_errors: int = KSWIN_ERRORS) -> list[Alarm]:
    """Every alarm, in the order of time; `time_N` is in microseconds, oldest first."""
    if not len(error_N):
        return []
    scaled_N = error_N / _scale(error_N)
    found = []
    for name, make in _detectors().items():
        first = max(0, len(scaled_N) - kswin_errors) if name == "KSWIN" else 0
        detector = make()
        for index, error in enumerate(scaled_N[first:].tolist(), start=first):
            detector.update(error)
            if detector.drift_detected:
                rose = bool(
                    error_N[max(first, index - _LAST + 1) : index + 1].mean() > error_N[first : index + 1].mean()
                )
                found.append(Alarm(name, index, float(time_N[index]) / 1e6, rose))
                # A fresh one: ADWIN keeps some errors from before, and would tell of the same change once more.
                detector, first = make(), index + 1
    return sorted(found, key=lambda alarm: (alarm.index, alarm.detector))


def _scale(error_N: Floats) -> float:
    """Page-Hinkley's threshold is meant for errors of about 1: a regression's are told in the mean of the first."""
    if set(np.unique(error_N)) <= {0.0, 1.0}:
        return 1.0
    return float(error_N[:_SCALE_ROWS].mean()) or 1.0


def _detectors() -> Mapping[str, Callable[[], Any]]:
    from river import drift  # half a second to import, and only this module needs it

    return {
        "ADWIN": lambda: drift.ADWIN(delta=0.002),
        "Page-Hinkley": lambda: drift.PageHinkley(min_instances=30, delta=0.005, threshold=50.0, alpha=0.9999),
        # At river's own alpha of 0.005 and a test for each error, a steady stream gives an alarm every few hundred.
        "KSWIN": lambda: drift.KSWIN(alpha=1e-5, window_size=200, stat_size=50, seed=0),
    }
