"""Owns how small an effect a window of so many rows can show; judges no column."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from .embedding_drift import smallest_mmd
from .groups import coarse_groups, fine_groups, in_groups
from .profiles import ColumnProfile
from .significance import chi_square_quantile, gamma_quantile, smallest_ks
from .wasserstein import normed, wasserstein_null


def smallest_effect(
    statistic: str, reference: ColumnProfile, num_current: int, alpha: float, num_groups: int | None = None
) -> float | None:
    """The value that a statistic passes by chance alone, without a drift, in a share `alpha` of windows.

    What lies below it cannot be told from chance. PSI and JS: their expansion to second order is a chi-square
    variable of the filled groups; KS, Wasserstein and MMD: see `smallest_ks`, `wasserstein_null`, `smallest_mmd`;
    L-infinity: the normal approximation of the largest category, by Bonferroni. None without rows, and where
    the reference has no spread.
    """
    num_reference = reference.count
    if not num_reference or not num_current:
        return None
    scale = 1 / num_reference + 1 / num_current
    if statistic in ("psi", "js"):
        if num_groups is None:
            groups = coarse_groups(reference.binning, reference.counts)
            num_groups = int(np.count_nonzero(in_groups(reference.counts, groups)))
        quantile = chi_square_quantile(alpha, num_groups - 1) * scale
        return quantile if statistic == "psi" else min(math.sqrt(quantile / (8 * math.log(2))), 1.0)
    if statistic == "linf":
        counts_G = in_groups(reference.counts, fine_groups(reference.binning, reference.counts))
        share_G = counts_G[counts_G > 0] / num_reference
        spread = math.sqrt(float(np.max(share_G * (1 - share_G))) * scale)
        return min(NormalDist().inv_cdf(1 - alpha / (2 * len(share_G))) * spread, 1.0)
    if statistic == "ks":
        return min(smallest_ks(num_reference, num_current, alpha), 1.0)
    if statistic == "mmd":
        return smallest_mmd(reference, num_reference, num_current, alpha)
    if statistic == "wasserstein_normed" and (null := wasserstein_null(reference, num_reference, num_current)):
        return normed(gamma_quantile(alpha, *null), reference)
    return None
