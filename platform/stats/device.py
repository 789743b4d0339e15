"""Owns counting on any array module: the array API standard everywhere, and under CuPy the fused kernel of cuda.py.

The integers are those of the CPU's pass, slot for slot; moments agree to rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_cupy_namespace

from . import cuda
from .arrays import Array, to_host
from .binning import Binning
from .distinct import SIZE, DistinctSketch, hash_bits, hash_numbers
from .grid import make_grid
from .histogram import counts_in_bins, edges_like
from .moments import Moments
from .profiles import ColumnProfile

# N = values, E = edges, B = intervals

BATCH = 1 << 28
"""Values counted at a time: 1 GiB of float32."""


def profile_array(values_N: Array, binning: Binning) -> ColumnProfile:
    """Profile floats of any array module, NaN and infinities among them; raises nothing for any of them."""
    num = values_N.shape[0]
    parts = [_profile(values_N[at : min(at + BATCH, num)], binning) for at in range(0, max(num, 1), BATCH)]
    found = parts[0]
    for part in parts[1:]:
        found = found.merge(part)
    return found


def _profile(values_N: Array, binning: Binning) -> ColumnProfile:
    xp = array_namespace(values_N)
    if "float16" in str(values_N.dtype):
        values_N = xp.astype(values_N, xp.float32)  # the kernel knows float32 and float64
    if is_cupy_namespace(xp):
        edges_E = edges_like(binning.edges, np.empty(0, dtype=values_N.dtype))
        grid = make_grid(edges_E)
        if cuda.fits(grid):
            found, hashes = cuda.count(xp, xp.ascontiguousarray(values_N), binning, grid)
            return replace(found, distinct=_distinct_of(xp, values_N) if hashes is None else hashes)
    return _standard(xp, values_N, binning)


def _standard(xp: Any, values_N: Array, binning: Binning) -> ColumnProfile:
    """By the array API alone."""
    nans = negative = positive = 0
    is_finite_N = xp.isfinite(values_N)
    if not bool(xp.all(is_finite_N)):
        nans = int(xp.count_nonzero(xp.isnan(values_N)))
        infinite_N = values_N[xp.isinf(values_N)]
        negative = int(xp.count_nonzero(infinite_N < 0))
        positive = infinite_N.shape[0] - negative
        values_N = values_N[is_finite_N]
    edges_E = edges_like(binning.edges, values_N)
    counts_B = to_host(counts_in_bins(values_N, edges_E))
    counts = np.concatenate([[negative], counts_B, [positive, 0, nans]]).astype(np.int64)
    below, above = _beyond(xp, values_N, edges_E)
    return ColumnProfile(binning, counts, Moments.of(values_N), below, above, _distinct(xp, values_N))


def _beyond(xp: Any, values_N: Array, edges_E: Array) -> tuple[float, float]:
    low, high = float(edges_E[0]), float(edges_E[-1])
    under_N = xp.astype(values_N[values_N <= edges_E[0]], xp.float64)
    over_N = xp.astype(values_N[values_N > edges_E[-1]], xp.float64)
    return float(xp.sum(low - under_N)), float(xp.sum(over_N - high))


def _distinct(xp: Any, values_N: Array) -> DistinctSketch:
    if not is_cupy_namespace(xp):
        return DistinctSketch.of_hashes(hash_numbers(to_host(values_N)))
    num = values_N.shape[0]
    bound = min(2**64 - 1, 16 * SIZE * (2**64 // max(num, 1)))
    hashes_N = hash_bits((xp.astype(values_N, xp.float64) + 0.0).view(xp.uint64), xp)
    low_N = xp.unique(hashes_N[hashes_N <= xp.uint64(bound)])
    if low_N.shape[0] < SIZE:  # few different values: all of them may be above the bound
        low_N = xp.unique(hashes_N)
    return DistinctSketch(to_host(low_N[:SIZE]))


def _distinct_of(xp: Any, values_N: Array) -> DistinctSketch:
    is_finite_N = xp.isfinite(values_N)
    return _distinct(xp, values_N if bool(xp.all(is_finite_N)) else values_N[is_finite_N])
