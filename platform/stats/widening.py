"""Widens a reference's bins to all of its values, where they were fitted to a sample of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .fitting import just_below
from .profiles import ColumnProfile, Profile


def widened(profile: Profile) -> Profile:
    """Widen the outer bins of a reference, so that none of its finite values lies outside; other slots stay.

    Exact without a second pass: what lay outside becomes the outer bins' own, or a bin of its own where each bin
    is one single value.
    """
    return Profile({name: _widened(column) for name, column in profile.columns.items()}, profile.rows)


def _widened(column: ColumnProfile) -> ColumnProfile:
    binning, counts = column.binning, column.counts
    if not binning.is_ordered or column.min is None or column.max is None:
        return column
    end = binning.first_bin + binning.num_bins
    under, over = int(counts[binning.first_bin - 1]), int(counts[end])
    edges, bins = list(binning.edges), counts[binning.first_bin : end].tolist()
    if under:
        low = just_below(column.min)
        if binning.is_discrete or not bins:
            edges, bins = [low, *edges], [under, *bins]
        else:
            edges[0], bins[0] = low, bins[0] + under
    if over:
        if binning.is_discrete or not bins:
            edges, bins = [*edges, column.max], [*bins, over]
        else:
            edges[-1], bins[-1] = column.max, bins[-1] + over
    slots = [counts[0], 0, *bins, 0, *counts[end + 1 :]]
    kept = replace(binning, edges=tuple(edges))
    return replace(column, binning=kept, counts=np.array(slots, dtype=np.int64), below=0.0, above=0.0)
