"""Owns means and shares with a 95 % interval, where values come in groups that are alike; it knows no tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# N = values, G = groups

MIN_GROUPS = 5  # below it an interval says nothing
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval; without bounds where fewer than 5 groups are behind it."""

    mean: float
    low: float | None
    high: float | None


def estimate_mean(value_N: NDArray[np.float64], group_N: NDArray[np.int64]) -> Estimate:
    """Mean over values, with an interval that takes the groups for independent, and not their values.

    Source: the cluster-robust variance of Liang and Zeger (1986) for a mean, with Student's t.

    >>> found = estimate_mean(np.array([1.0, 2, 3, 4, 5]), np.arange(5))
    >>> found.mean, round(found.low, 2), round(found.high, 2)
    (3.0, 1.04, 4.96)
    """
    mean = float(value_N.mean())
    sum_G = np.bincount(np.unique(group_N, return_inverse=True)[1], weights=value_N - mean)
    num = len(sum_G)
    if num < MIN_GROUPS:
        return Estimate(mean, None, None)
    half = student_t(num - 1) * math.sqrt(num / (num - 1) * float(sum_G @ sum_G)) / len(value_N)
    return Estimate(mean, mean - half, mean + half)


def estimate_share(share: float, trials: int) -> Estimate:
    """Give a share of so many independent trials its interval. Source: Wilson (1927), "Probable inference".

    >>> found = estimate_share(1.0, trials=100)
    >>> round(found.low, 4), found.high
    (0.963, 1.0)
    """
    if trials < MIN_GROUPS:
        return Estimate(share, None, None)
    middle = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z / (1 + _Z**2 / trials) * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def student_t(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t, from 4 degrees of freedom on to within 0.3 %.

    Source: the expansion in Abramowitz and Stegun (1964), 26.7.5.

    >>> round(student_t(10), 3), round(student_t(1000), 4)
    (2.228, 1.9623)
    """
    z, n = _Z, degrees
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3
