"""Owns every statistic of two profiles of one column, by name, and the chance of them; knows no limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .distance import (
    hellinger,
    jensen_shannon,
    kl_divergence,
    ks_statistic,
    l_infinity,
    psi,
    total_variation,
)
from .embedding_drift import embedding_drift
from .groups import coarse_groups, fine_groups, in_groups
from .profiles import ColumnProfile
from .significance import chi_square, chi_square_quantile, homogeneity_p_value, ks_p_value
from .wasserstein import normed, wasserstein

# G = groups

STATISTICS = (
    "psi",
    "psi_expected",
    "psi_quantile",
    "kl",
    "kl_reverse",
    "js",
    "hellinger",
    "total_variation",
    "linf",
    "chi_square",
    "chi_square_p",
    "cramers_v",
    "ks",
    "ks_p",
    "wasserstein",
    "wasserstein_normed",
    "mean_shift",
    "mean_distance",
    "mmd",
    "mmd_p",
)
"""In docs/drift.md's order, with formula, source and range there."""
NULL_QUANTILE = 0.05
"""What chance alone makes of PSI is stated at this level."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One column's statistics, each None where the column has it not, and the chance of them without a drift."""

    statistics: Mapping[str, float | None]
    p_value: float
    """The smallest of the tests, times their number; 1 where nothing can be tested."""
    num_groups: int
    """Groups that a side fills; 0 without rows."""


def measure(reference: ColumnProfile, current: ColumnProfile) -> Measured:
    """Compute every statistic that the column has; both profiles must be on the same bins."""
    found: dict[str, float | None] = dict.fromkeys(STATISTICS)
    if not reference.count or not current.count:
        return Measured(found, 1.0, 0)
    ref_G, cur_G = _grouped(reference, current, coarse_groups(reference.binning, reference.counts))
    num_groups = int(np.count_nonzero(ref_G + cur_G))
    scale = 1 / reference.count + 1 / current.count
    found["psi"] = psi(ref_G, cur_G)
    found["psi_expected"] = (num_groups - 1) * scale
    found["psi_quantile"] = chi_square_quantile(NULL_QUANTILE, num_groups - 1) * scale
    found["kl"], found["kl_reverse"] = kl_divergence(ref_G, cur_G), kl_divergence(cur_G, ref_G)
    found["js"], found["hellinger"] = jensen_shannon(ref_G, cur_G), hellinger(ref_G, cur_G)
    found["total_variation"] = total_variation(ref_G, cur_G)
    if not reference.binning.is_ordered:
        ref_G, cur_G = _grouped(reference, current, fine_groups(reference.binning, reference.counts))
    found["linf"] = l_infinity(ref_G, cur_G)
    test = chi_square(ref_G, cur_G)
    found["chi_square"], found["chi_square_p"], found["cramers_v"] = test.statistic, test.p_value, test.cramers_v
    p_values = [homogeneity_p_value(ref_G, cur_G)]
    if reference.binning.is_ordered:
        p_values += _of_ordered(reference, current, found)
    tested = [p_value for p_value in p_values if p_value is not None]
    return Measured(found, min(1.0, len(tested) * min(tested, default=1.0)), num_groups)


def _grouped(
    reference: ColumnProfile, current: ColumnProfile, group_S: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return in_groups(reference.counts, group_S), in_groups(current.counts, group_S)


def _of_ordered(reference: ColumnProfile, current: ColumnProfile, found: dict[str, float | None]) -> list[float | None]:
    """Add the statistics of ordered bins and of vectors; returns the p-values of their tests."""
    if not reference.values or not current.values:
        return []
    ks = ks_statistic(reference.value_counts, current.value_counts)
    found["ks"], found["ks_p"] = ks, ks_p_value(ks, reference.values, current.values)
    found["wasserstein"] = wasserstein(reference, current)
    found["wasserstein_normed"] = normed(found["wasserstein"], reference)
    if reference.mean is not None and current.mean is not None:
        found["mean_shift"] = normed(current.mean - reference.mean, reference)
    p_values = [found["ks_p"]]
    if (vectors := embedding_drift(reference, current)) is not None:
        found["mean_distance"], found["mmd"], found["mmd_p"] = vectors.mean_distance, vectors.mmd, vectors.p_value
        p_values.append(vectors.p_value)
    return p_values
