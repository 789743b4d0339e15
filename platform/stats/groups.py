"""Owns the coarse groups of slots on which PSI and KL are computed; knows no statistics and no limits.

Over 256 fine bins these measure mostly noise: their expected value under no change is about
(bins - 1) * (1/reference + 1/current rows). Groups keep that small and still see every special slot.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .binning import Binning

# S = fine slots, G = coarse groups

QUANTILE_GROUPS = 10
MAX_OWN_CATEGORIES = 20
"""So many of the most frequent categories keep a group of their own; the rest share QUANTILE_GROUPS."""
MIN_CATEGORY_ROWS = 5
"""Categories with fewer rows in the reference are rare."""


def _dense(group_S: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the groups from 0 without a gap, in the same order."""
    dense_S: NDArray[np.int64] = np.unique(group_S, return_inverse=True)[1].astype(np.int64)
    return dense_S


def _by_mass(counts_B: NDArray[np.int64], num_groups: int) -> NDArray[np.int64]:
    """Give each bin the quantile group that the middle of its mass falls into; few filled bins keep their own.

    An empty bin goes with the next filled one above it.
    """
    is_filled_B = counts_B > 0
    if 0 < is_filled_B.sum() <= num_groups:
        next_filled_B: NDArray[np.int64] = np.minimum(np.cumsum(is_filled_B) - is_filled_B, is_filled_B.sum() - 1)
        return next_filled_B
    doubled_middle_B = 2 * np.cumsum(counts_B) - counts_B
    total = max(int(counts_B.sum()), 1)
    group_B: NDArray[np.int64] = np.minimum(doubled_middle_B * num_groups // (2 * total), num_groups - 1)
    return group_B


def _rare_with_other(binning: Binning, counts_S: NDArray[np.int64], group_S: NDArray[np.int64]) -> NDArray[np.int64]:
    if binning.is_ordered:
        return group_S
    other = binning.num_bins
    is_rare_S = (counts_S < MIN_CATEGORY_ROWS) & (np.arange(len(counts_S)) < other)
    return np.where(is_rare_S, group_S[other], group_S)


def fine_groups(binning: Binning, reference_S: ArrayLike) -> NDArray[np.int64]:
    """Give each slot its group for a test, shape (S,): each alone, but rare categories go with other.

    A reference of many rare categories has not seen them all, so a window holds unseen ones without any
    change: the rows of the rare estimate how many. Source: Good (1953), on the frequencies of species.
    """
    group_S = np.arange(len(np.asarray(reference_S)), dtype=np.int64)
    return _dense(_rare_with_other(binning, np.asarray(reference_S, dtype=np.int64), group_S))


def coarse_groups(binning: Binning, reference_S: ArrayLike) -> NDArray[np.int64]:
    """Give each slot its group, shape (S,): bins by the reference's deciles, special slots each alone.

    Categories keep their own group while they are at most MAX_OWN_CATEGORIES, or among the most frequent;
    rare ones go with other, as in `fine_groups`.
    """
    counts_S = np.asarray(reference_S, dtype=np.int64)
    first = binning.first_bin if binning.is_ordered else MAX_OWN_CATEGORIES
    end = first + binning.num_bins if binning.is_ordered else binning.num_bins
    group_S = np.arange(len(counts_S), dtype=np.int64)
    if end > first:
        group_S[first:end] = first + _by_mass(counts_S[first:end], QUANTILE_GROUPS)
        group_S[end:] = first + QUANTILE_GROUPS + np.arange(len(counts_S) - end)
    return _dense(_rare_with_other(binning, counts_S, group_S))


def in_groups(counts_S: ArrayLike, group_S: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add the counts of each group; int64, shape (G,)."""
    sums_G = np.zeros(int(group_S.max()) + 1, dtype=np.int64)
    np.add.at(sums_G, group_S, np.asarray(counts_S, dtype=np.int64))
    return sums_G
