"""Owns the exact chance of a Kolmogorov-Smirnov statistic between two small samples; knows numbers only."""

from __future__ import annotations

import math

import numpy as np

EXACT_ROWS = 10_000
"""The larger sample up to which the chance is computed exactly; SciPy's bound."""


def exact_ks_p_value(statistic: float, num_reference: int, num_current: int) -> float:
    """Chance of a KS statistic at least this large between two samples of one continuous distribution.

    Counts the lattice paths that keep every |i/n - j/m| below the statistic, a row of the smaller sample at a
    time: O(n m), 20 ms for 1,000 rows against 10,000. To 1e-11, not relative to a tiny chance. Source: Hodges
    (1958), "The significance probability of the Smirnov two-sample test".
    """
    n, m = sorted((num_reference, num_current))
    # The statistic is a multiple of 1 / lcm: as an integer it is compared without rounding.
    common = math.lcm(n, m)
    wanted = round(statistic * common)
    if wanted <= 0:
        return 1.0
    step_n, step_m = common // n, common // m
    paths_J, log_scale = np.ones(0), 0.0
    first = 0
    for i in range(n + 1):
        # j with |i step_n - j step_m| < wanted
        low = max(0, -(-(i * step_n - wanted + 1) // step_m))
        high = min(m, (i * step_n + wanted - 1) // step_m)
        if low > high:
            return 1.0
        row_J = np.zeros(high - low + 1)
        if i == 0:
            row_J[:] = 1.0
        else:
            begin, end = max(low, first), min(high + 1, first + len(paths_J))
            row_J[begin - low : end - low] = paths_J[begin - first : end - first]
            row_J = np.cumsum(row_J)
            top = float(row_J[-1])
            if top <= 0:
                return 1.0
            row_J /= top
            log_scale += math.log(top)
        paths_J, first = row_J, low
    inside = math.log(float(paths_J[-1])) + log_scale
    inside -= math.lgamma(n + m + 1) - math.lgamma(n + 1) - math.lgamma(m + 1)
    return min(max(1.0 - math.exp(min(inside, 0.0)), 0.0), 1.0)
