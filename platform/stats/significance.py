"""Owns how likely a distance is by chance; knows counts and p-values only: no columns and no limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidInput
from .distance import paired_counts

# B = bins

MIN_EXPECTED_ROWS = 5.0
"""Cells expected to hold fewer rows are pooled. Source: Cochran (1954), on the chi-square tests."""

_TINY = 1e-300
_ROUNDING = 1e-16
_MAX_TERMS = 100_000


def ks_p_value(statistic: float, num_reference: int, num_current: int) -> float:
    """Chance of a KS statistic at least this large between two samples of one distribution, in [0, 1].

    Q(x) = 2 sum (-1)^(k-1) exp(-2 k^2 x^2) at x = statistic * sqrt(n m / (n + m)): for large samples. Ties
    and bins make it larger than the truth, never smaller. Source: Kolmogorov (1933), Smirnov (1948).
    """
    if not 0 <= statistic <= 1 or num_reference < 1 or num_current < 1:
        raise InvalidInput(f"KS {statistic} must lie in [0, 1], rows {num_reference} and {num_current} be positive")
    x = statistic * math.sqrt(num_reference / (num_reference + num_current) * num_current)
    if x < 0.1:
        return 1.0
    if x < 1:
        # The alternating series converges slowly here; this is its dual by the theta function's identity.
        dual = sum(math.exp(-(((2 * k - 1) * math.pi / x) ** 2) / 8) for k in range(1, 6))
        return 1 - math.sqrt(2 * math.pi) / x * dual
    terms = ((-1.0) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 6))
    return min(2 * math.fsum(terms), 1.0)


def _upper_gamma(shape: float, x: float) -> float:
    """Regularised upper incomplete gamma Q(shape, x): series below the mean, continued fraction above.

    Source: Abramowitz and Stegun (1964), 6.5.29 and 6.5.31, the latter by Lentz's method (1976).
    """
    if x <= 0:
        return 1.0
    factor = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        term = total = 1 / shape
        for k in range(1, _MAX_TERMS):
            term *= x / (shape + k)
            total += term
            if term < total * _ROUNDING:
                break
        return max(1 - factor * total, 0.0)
    bottom = x + 1 - shape
    ratio, inverse = 1 / _TINY, 1 / bottom
    fraction = inverse
    for k in range(1, _MAX_TERMS):
        numerator = k * (shape - k)
        bottom += 2
        inverse = 1 / (numerator * inverse + bottom or _TINY)
        ratio = bottom + numerator / ratio or _TINY
        fraction *= ratio * inverse
        if abs(ratio * inverse - 1) <= 2 * _ROUNDING:
            break
    return factor * fraction


def chi_square_p_value(statistic: float, degrees: int) -> float:
    """Chance of a chi-square variable at least this large, in [0, 1]; 1 with no degree of freedom."""
    if statistic < 0 or degrees < 0:
        raise InvalidInput(f"chi-square {statistic} and its {degrees} degrees of freedom must not be negative")
    return _upper_gamma(degrees / 2, statistic / 2) if degrees else 1.0


def gamma_p_value(value: float, mean: float, variance: float) -> float:
    """Chance that a gamma variable of this mean and variance is at least `value`, in [0, 1]; 1 where it is constant."""
    if mean <= 0 or variance <= 0:
        return 1.0
    return min(_upper_gamma(mean * mean / variance, value * mean / variance), 1.0)


@lru_cache(maxsize=4_096)
def _gamma_quantile(shape: float, alpha: float) -> float:
    low, high = 0.0, shape + 1.0
    while _upper_gamma(shape, high) > alpha:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _upper_gamma(shape, middle) > alpha else (low, middle)
    return high


def gamma_quantile(alpha: float, mean: float, variance: float) -> float:
    """The value that a gamma variable of this mean and variance passes with chance alpha; its mean where constant."""
    if mean <= 0 or variance <= 0:
        return mean
    return _gamma_quantile(mean * mean / variance, alpha) * variance / mean


def chi_square_quantile(alpha: float, degrees: int) -> float:
    """The value that a chi-square variable passes with chance alpha; 0 with no degree of freedom.

    >>> round(chi_square_quantile(0.05, 9), 3)
    16.919
    """
    return gamma_quantile(alpha, float(degrees), 2.0 * degrees)


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A test whether two samples share one distribution over bins."""

    statistic: float
    degrees: int
    p_value: float
    cramers_v: float
    """How strong the difference is whatever the rows, sqrt(statistic / rows of both), in [0, 1]."""


def chi_square(reference_B: ArrayLike, current_B: ArrayLike) -> ChiSquare:
    """Test if two samples share a distribution: sum (observed - expected)^2 / expected, bins - 1 degrees.

    Bins empty in both count for nothing; with one filled bin, as for a constant column, p is 1. Holds where
    each bin expects MIN_EXPECTED_ROWS on both sides; else see `homogeneity_p_value`. Source: Pearson (1900);
    Cramer (1946), "Mathematical Methods of Statistics", section 21.9, for V.

    >>> chi_square([50, 50], [75, 25]).degrees
    1
    """
    table_2B = np.stack(paired_counts(reference_B, current_B))
    table_2B = table_2B[:, table_2B.sum(axis=0) > 0]
    expected_2B = table_2B.sum(axis=1, keepdims=True) * (table_2B.sum(axis=0) / table_2B.sum())
    statistic = float(np.sum((table_2B - expected_2B) ** 2 / expected_2B))
    degrees = table_2B.shape[1] - 1
    strength = min(math.sqrt(statistic / float(table_2B.sum())), 1.0)
    return ChiSquare(statistic, degrees, chi_square_p_value(statistic, degrees), strength)


def hypergeometric_p_value(hits: int, num_sample: int, num_marked: int, num_all: int) -> float:
    """Chance, twice the smaller tail, of so many marked rows in a sample drawn from all, in [0, 1].

    Exact, in time proportional to the possible hits. Source: Fisher (1935), "The design of experiments".
    """

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    fewest, most = max(0, num_sample - (num_all - num_marked)), min(num_sample, num_marked)
    if not fewest <= hits <= most:
        raise InvalidInput(f"{hits} marked rows in the sample are impossible: it holds {fewest} to {most}")
    whole = log_choose(num_all, num_sample)

    def chance(k: int) -> float:
        rest = log_choose(num_all - num_marked, num_sample - k)
        return math.exp(log_choose(num_marked, k) + rest - whole)

    lower, upper = sum(map(chance, range(fewest, hits + 1))), sum(map(chance, range(hits, most + 1)))
    return min(1.0, 2 * min(lower, upper))


def homogeneity_p_value(reference_B: ArrayLike, current_B: ArrayLike) -> float | None:
    """Chance that samples of one distribution differ so much, rare bins included; None with one filled bin.

    Bins that expect fewer than MIN_EXPECTED_ROWS on a side are pooled. If the pool still does, its share is
    tested exactly and the others by chi-square (Bonferroni): so a category that the reference never saw is
    neither lost, nor significant for a single row.
    """
    table_2B = np.stack(paired_counts(reference_B, current_B))
    table_2B = table_2B[:, table_2B.sum(axis=0) > 0]
    if table_2B.shape[1] == 1:
        return None
    rows_2 = table_2B.sum(axis=1)
    smaller = rows_2.min() / rows_2.sum()
    is_rare_B = table_2B.sum(axis=0) * smaller < MIN_EXPECTED_ROWS
    pool_2, kept_2B = table_2B[:, is_rare_B].sum(axis=1), table_2B[:, ~is_rare_B]
    if not pool_2.any() or pool_2.sum() * smaller >= MIN_EXPECTED_ROWS:
        filled_2B = np.column_stack([kept_2B, pool_2])
        return chi_square(*filled_2B).p_value if kept_2B.shape[1] else None
    side = int(rows_2.argmin())
    p_values = [hypergeometric_p_value(int(pool_2[side]), int(rows_2[side]), int(pool_2.sum()), int(rows_2.sum()))]
    if kept_2B.shape[1] > 1 and kept_2B.sum(axis=1).all():
        p_values.append(chi_square(*kept_2B).p_value)
    return min(1.0, len(p_values) * min(p_values))


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values so that keeping those up to alpha bounds the false-discovery rate by alpha.

    Source: Benjamini and Hochberg (1995), "Controlling the false discovery rate".

    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5])
    (0.04, 0.05333333333333334, 0.05333333333333334, 0.5)
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted = [1.0] * len(p_values)
    lowest = 1.0
    for place, index in enumerate(order):
        lowest = min(lowest, p_values[index] * len(p_values) / (len(p_values) - place))
        adjusted[index] = lowest
    return tuple(adjusted)


def smallest_ks(num_reference: int, num_current: int, alpha: float) -> float:
    """Smallest KS statistic whose p-value reaches alpha with so many rows; above 1 no window could show one.

    sqrt(ln(2 / alpha) (n + m) / (2 n m)), from the first term of the series in `ks_p_value`.
    """
    if num_reference < 1 or num_current < 1:
        return math.inf
    return math.sqrt(math.log(2 / alpha) / 2 * (1 / num_reference + 1 / num_current))
