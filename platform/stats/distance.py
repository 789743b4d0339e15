"""Owns how far two histograms lie apart; knows counts only: no columns, no limits, no significance.

Each function takes the counts of the reference and of the current rows on the same bins, and raises
`InvalidInput` where they have different lengths, a negative count or no row at all. A column that is constant
in both has one filled bin, and every distance is 0.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidInput

# B = bins

PSEUDO_COUNT = 0.5


def paired_counts(reference_B: ArrayLike, current_B: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as float64 vectors, checked to be counts on the same bins with at least one row each."""
    ref_B, cur_B = np.asarray(reference_B, dtype=np.float64), np.asarray(current_B, dtype=np.float64)
    if ref_B.ndim != 1 or ref_B.shape != cur_B.shape:
        raise InvalidInput(f"counts have shapes {ref_B.shape} and {cur_B.shape}, but must be vectors of one length")
    for side, counts_B in (("reference", ref_B), ("current", cur_B)):
        if not (counts_B >= 0).all() or not counts_B.sum() > 0:
            raise InvalidInput(f"the {side} counts must not be negative and must hold at least one row")
    return ref_B, cur_B


def _shares(
    reference_B: ArrayLike, current_B: ArrayLike, pseudo_count: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of the bins that a side fills, with `pseudo_count` rows added to each."""
    ref_B, cur_B = paired_counts(reference_B, current_B)
    is_used_B = (ref_B > 0) | (cur_B > 0)
    ref_B, cur_B = ref_B[is_used_B] + pseudo_count, cur_B[is_used_B] + pseudo_count
    return ref_B / ref_B.sum(), cur_B / cur_B.sum()


def psi(reference_B: ArrayLike, current_B: ArrayLike, pseudo_count: float = PSEUDO_COUNT) -> float:
    """Population stability index, sum (q - p) ln(q / p), in [0, inf); 0 for equal shares.

    Half a row is added to each bin, except to bins empty in both, which are left out; with pseudo_count=0 a
    bin empty in one side only gives inf. Source: Siddiqi (2006), "Credit Risk Scorecards"; equal to Jeffreys'
    divergence (1946).

    >>> round(psi([50, 50], [75, 25], pseudo_count=0), 6)
    0.274653
    """
    p_B, q_B = _shares(reference_B, current_B, pseudo_count)
    with np.errstate(divide="ignore"):
        return float(np.sum((q_B - p_B) * np.log(q_B / p_B)))


def kl_divergence(reference_B: ArrayLike, current_B: ArrayLike, pseudo_count: float = PSEUDO_COUNT) -> float:
    """Divergence of the current from the reference, sum q ln(q / p), in nats, in [0, inf).

    Empty bins as in `psi`; with pseudo_count=0 only a bin empty in the reference gives inf. Source: Kullback
    and Leibler (1951), "On information and sufficiency".

    >>> round(kl_divergence([50, 50], [75, 25], pseudo_count=0), 6)
    0.130812
    """
    p_B, q_B = _shares(reference_B, current_B, pseudo_count)
    return _relative_entropy(q_B, p_B)


def _relative_entropy(q_B: NDArray[np.float64], p_B: NDArray[np.float64]) -> float:
    is_filled_B = q_B > 0
    with np.errstate(divide="ignore"):
        # The sum is never negative but for rounding.
        return max(float(np.sum(q_B[is_filled_B] * np.log(q_B[is_filled_B] / p_B[is_filled_B]))), 0.0)


def jensen_shannon(reference_B: ArrayLike, current_B: ArrayLike) -> float:
    """Jensen-Shannon distance, the root of the divergence in bits, in [0, 1]; 1 where no bin is shared.

    Needs no smoothing. Source: Endres and Schindelin (2003), "A new metric for probability distributions".

    >>> jensen_shannon([10, 0], [0, 5])
    1.0
    """
    p_B, q_B = _shares(reference_B, current_B, 0.0)
    middle_B = (p_B + q_B) / 2
    nats = (_relative_entropy(p_B, middle_B) + _relative_entropy(q_B, middle_B)) / 2
    return math.sqrt(min(nats / math.log(2), 1.0))


def total_variation(reference_B: ArrayLike, current_B: ArrayLike) -> float:
    """Total variation, half the sum of |q - p|, in [0, 1]: the share of rows that would have to move.

    Needs no smoothing. Source: Levin and Peres (2017), "Markov Chains and Mixing Times", section 4.1.

    >>> total_variation([50, 50], [75, 25])
    0.25
    """
    p_B, q_B = _shares(reference_B, current_B, 0.0)
    return float(np.sum(np.abs(q_B - p_B)) / 2)


def hellinger(reference_B: ArrayLike, current_B: ArrayLike) -> float:
    """Hellinger distance, sqrt(1 - sum sqrt(p q)), in [0, 1]; 1 where no bin is shared.

    Needs no smoothing. Source: Hellinger (1909); Le Cam and Yang (2000), "Asymptotics in Statistics", section 3.2.

    >>> hellinger([10, 0], [0, 5])
    1.0
    """
    p_B, q_B = _shares(reference_B, current_B, 0.0)
    # As a sum of squares equal shares give 0, and not the root of rounding.
    return min(math.sqrt(float(np.sum((np.sqrt(q_B) - np.sqrt(p_B)) ** 2)) / 2), 1.0)


def l_infinity(reference_B: ArrayLike, current_B: ArrayLike) -> float:
    """The largest |q - p| of one bin, in [0, 1]: what one category gained or lost.

    Needs no smoothing. Chebyshev's distance.

    >>> l_infinity([50, 30, 20], [25, 50, 25])
    0.25
    """
    p_B, q_B = _shares(reference_B, current_B, 0.0)
    return float(np.max(np.abs(q_B - p_B)))


def ks_statistic(reference_B: ArrayLike, current_B: ArrayLike) -> float:
    """Kolmogorov-Smirnov distance, the largest |Q(x) - P(x)| of the cumulative shares, in [0, 1].

    The bins must be in order of value, under first and over last. It looks at the edges only, so it never
    exceeds that of the raw values, and misses less than the largest bin's share. Empty bins change nothing.
    Source: Smirnov (1939).

    >>> ks_statistic([1, 1, 2], [2, 1, 1])
    0.25
    """
    ref_B, cur_B = paired_counts(reference_B, current_B)
    gap_B = np.cumsum(cur_B) / cur_B.sum() - np.cumsum(ref_B) / ref_B.sum()
    return float(np.max(np.abs(gap_B)))
