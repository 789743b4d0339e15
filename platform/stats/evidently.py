"""Owns the rules by which Evidently 0.7 judges a column by default, on profiles; imports nothing of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .distance import jensen_shannon, ks_statistic
from .kolmogorov import EXACT_ROWS, exact_ks_p_value
from .measures import measure
from .profiles import ColumnProfile
from .report import ColumnDrift, Verdict
from .significance import chi_square_p_value, ks_p_value
from .wasserstein import wasserstein

# V = slots of finite values

EVIDENTLY_SHARE = 0.5
SMALL_REFERENCE = 1_000
"""Values of the reference up to which a test decides, and above which a distance."""
FEW_VALUES = 5
"""Different values of both sides up to which numbers are taken for categories."""
FEW_INTEGERS = 10
"""The same of integers alone, in the window."""
TEXT_SHARE = 0.5
"""Strings of which more than this share differ are free text."""
TEST_LIMIT, DISTANCE_LIMIT = 0.05, 0.1
LEAST_SPREAD = 0.001


def judge_like_evidently(name: str, reference: ColumnProfile, current: ColumnProfile) -> ColumnDrift | None:
    """Judge a column by Evidently's default test for it; None for a kind that it leaves out.

    Up to 1,000 reference values: KS, chi-square for few different values, or Z for at most two, at p 0.05. Above:
    Wasserstein by the reference's spread, or the Jensen-Shannon distance in nats for few values, at 0.1. Nulls,
    NaN and infinities are dropped and nothing is corrected for the number of columns. Source: Evidently 0.7.23,
    legacy/calculations/stattests/registry.py, and core/datasets.py for the types.
    """
    binning = reference.binning
    if binning.kind in ("timestamp", "embedding"):
        return None
    found = measure(reference, current)
    ref_V, cur_V = _finite(reference), _finite(current)
    judged: str | None = None
    value: float | None = None
    limit: float | None = None
    verdict: Verdict = "none"
    p_value = found.p_value
    if not ref_V.sum() or not cur_V.sum():
        verdict = "too_few_rows"
        reason = f"no value in the {'window' if ref_V.sum() else 'reference'}: Evidently raises an error"
    elif _is_text(current):
        reason = "free text, which Evidently judges by a classifier: not reproduced"
    else:
        judged, value = _score(reference, current, ref_V, cur_V)
        if judged.endswith("_p"):
            limit, p_value = TEST_LIMIT, value
            drifts = value <= limit if judged == "ks_p" else value < limit
        else:
            limit = DISTANCE_LIMIT
            drifts = value >= limit
        verdict = "drift" if drifts else "none"
        reason = f"{judged} {value:.3g}, limit {limit:g}, by the rules of Evidently"
    return ColumnDrift(
        name, binning.kind, found.statistics, judged, value, limit, p_value, p_value, None, verdict, reason
    )


def _finite(column: ColumnProfile) -> NDArray[np.int64]:
    """Counts without null, NaN and the infinities."""
    counts = column.value_counts
    return counts[1:-1] if column.binning.is_ordered else counts


def _is_text(current: ColumnProfile) -> bool:
    return current.binning.type == "string" and current.distinct.estimate > current.values * TEXT_SHARE


def _score(
    reference: ColumnProfile, current: ColumnProfile, ref_V: NDArray[np.int64], cur_V: NDArray[np.int64]
) -> tuple[str, float]:
    """The statistic that decides, and Evidently's score of it."""
    binning, num_reference = reference.binning, int(ref_V.sum())
    is_small = num_reference <= SMALL_REFERENCE
    is_numeric = binning.is_ordered and not (binning.type == "integral" and current.distinct.estimate <= FEW_INTEGERS)
    distinct = reference.distinct.merge(current.distinct).estimate
    if is_numeric and distinct > FEW_VALUES:
        if is_small:
            return "ks_p", _ks_p(ks_statistic(ref_V, cur_V), num_reference, int(cur_V.sum()))
        spread = (reference.std or 0.0) * math.sqrt(1 - 1 / num_reference)
        return "wasserstein_normed", (wasserstein(reference, current) or 0.0) / max(spread, LEAST_SPREAD)
    if not is_small:
        return "js", jensen_shannon(ref_V, cur_V) * math.sqrt(math.log(2))
    if distinct <= 2:
        return "z_p", _z_p(ref_V, cur_V)
    return "chi_square_p", _chi_p(ref_V, cur_V)


def _ks_p(ks: float, num_reference: int, num_current: int) -> float:
    if max(num_reference, num_current) <= EXACT_ROWS:
        return exact_ks_p_value(ks, num_reference, num_current)
    # Above it SciPy takes the exact law of one sample; Stephens (1970) corrects the limit to that.
    root = math.sqrt(num_reference / (num_reference + num_current) * num_current)
    corrected = ks * (root + 0.12 + 0.11 / root) / root
    return ks_p_value(min(corrected, 1.0), num_reference, num_current)


def _chi_p(ref_V: NDArray[np.int64], cur_V: NDArray[np.int64]) -> float:
    """Goodness of fit, as if the reference's shares were known; 0 where it holds none of a value."""
    used_V = (ref_V + cur_V) > 0
    expected_V, seen_V = ref_V[used_V] * (cur_V.sum() / ref_V.sum()), cur_V[used_V]
    if not expected_V.all():
        return 0.0
    statistic = float(np.sum((seen_V - expected_V) ** 2 / expected_V))
    return min(chi_square_p_value(statistic, len(seen_V) - 1), 1.0)


def _z_p(ref_V: NDArray[np.int64], cur_V: NDArray[np.int64]) -> float:
    """Z-test of two shares, pooled."""
    used_V = np.flatnonzero(ref_V + cur_V)
    if len(used_V) < 2:
        return 1.0
    n, m, hits, seen = int(ref_V.sum()), int(cur_V.sum()), int(ref_V[used_V[0]]), int(cur_V[used_V[0]])
    pooled = (hits + seen) / (n + m)
    z = (hits / n - seen / m) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return math.erfc(abs(z) / math.sqrt(2))
