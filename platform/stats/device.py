"""Owns counting on any array module: the array API standard everywhere, and one fused CUDA kernel under CuPy.

The integers are those of the CPU's pass, slot for slot; moments agree to rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_cupy_namespace
from numpy.typing import NDArray

from .arrays import Array, to_host
from .binning import Binning
from .distinct import SIZE, DistinctSketch, hash_bits, hash_numbers
from .grid import BY_VALUE, Grid, make_grid
from .histogram import counts_in_bins, edges_like
from .moments import Moments
from .profiles import ColumnProfile

# N = values, E = edges, B = intervals

BATCH = 1 << 26
"""Values counted at a time: 256 MiB of float32."""
_BLOCKS, _THREADS = 1_056, 256
_SHARED_BYTES = 48 * 1_024
"""What every GPU gives a block without being asked; exact bins can need more."""

_SOURCE = r"""
extern "C" __global__ void histogram_%(name)s(
    const %(real)s* __restrict__ values, const long long n, const unsigned short* __restrict__ places,
    const %(real)s* __restrict__ edges, const int num_edges, const %(real)s low, const %(real)s scale,
    const int most, unsigned long long* __restrict__ counts, double* __restrict__ sums, %(real)s* __restrict__ ends)
{
    // Slots: num_edges + 1 intervals, then -inf, +inf, NaN. Each warp tallies for itself, so that few lanes collide.
    extern __shared__ unsigned int tallies[];
    const int slots = num_edges + 4, warps = blockDim.x / 32;
    for (int i = threadIdx.x; i < slots * warps; i += blockDim.x) tallies[i] = 0;
    __syncthreads();
    unsigned int* mine = tallies + slots * (threadIdx.x / 32);
    double sum = 0, square = 0, below = 0, above = 0;
    const %(real)s first = edges[0], last = edges[num_edges - 1];
    %(real)s lowest = %(inf)s, highest = -%(inf)s;
    const double shift = ((double)first + (double)last) / 2;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const %(real)s value = values[i];
        int slot;
        if (isfinite(value)) {
            // Rounded step by step, as on the host: a fused multiply-add could move a value to another cell.
            %(real)s cell = %(mul)s(%(sub)s(value, low), scale);
            cell = min(max(cell, (%(real)s)0), (%(real)s)(%(cells)d - 1));
            slot = places[(int)cell];
            for (int k = 0; k < most; ++k) slot += slot < num_edges && edges[slot] < value;
            const double apart = (double)value - shift;
            sum += apart; square += apart * apart;
            lowest = min(lowest, value); highest = max(highest, value);
            if (slot == 0) below += (double)first - (double)value;
            if (slot == num_edges) above += (double)value - (double)last;
        } else slot = num_edges + 1 + (isnan(value) ? 2 : value > 0);
        atomicAdd(mine + slot, 1u);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < slots; i += blockDim.x) {
        unsigned long long total = 0;
        for (int w = 0; w < warps; ++w) total += tallies[i + slots * w];
        if (total) atomicAdd(counts + i, total);
    }
    for (int lane = 16; lane; lane /= 2) {
        sum += __shfl_down_sync(~0u, sum, lane); square += __shfl_down_sync(~0u, square, lane);
        below += __shfl_down_sync(~0u, below, lane); above += __shfl_down_sync(~0u, above, lane);
        lowest = min(lowest, __shfl_down_sync(~0u, lowest, lane));
        highest = max(highest, __shfl_down_sync(~0u, highest, lane));
    }
    if (threadIdx.x %% 32 == 0) {
        atomicAdd(sums, sum); atomicAdd(sums + 1, square); atomicAdd(sums + 2, below); atomicAdd(sums + 3, above);
        const long long warp = (long long)blockIdx.x * warps + threadIdx.x / 32;
        ends[2 * warp] = lowest; ends[2 * warp + 1] = highest;
    }
}
"""


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
        fits = 4 * (len(grid.edges_E) + 3) * (_THREADS // 32) <= _SHARED_BYTES
        if grid.how == BY_VALUE and grid.most_in_cell <= 64 and fits:
            return _fused(xp, values_N, binning, grid)
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


def _fused(xp: Any, values_N: Array, binning: Binning, grid: Grid) -> ColumnProfile:
    values_N = xp.ascontiguousarray(values_N)
    num_edges = len(grid.edges_E) - 1
    slots, warps = num_edges + 4, _THREADS // 32
    counts = xp.zeros(slots, dtype=xp.uint64)
    sums = xp.zeros(4, dtype=xp.float64)
    ends = xp.empty((_BLOCKS * warps, 2), dtype=values_N.dtype)
    kernel = _kernel(values_N.dtype.name)
    arguments = (
        values_N,
        np.int64(values_N.shape[0]),
        xp.asarray(grid.places_G),
        xp.asarray(grid.edges_E),
        np.int32(num_edges),
        grid.low,
        grid.scale,
        np.int32(grid.most_in_cell),
        counts,
        sums,
        ends,
    )
    kernel((_BLOCKS,), (_THREADS,), arguments, shared_mem=4 * slots * warps)
    return _gathered(
        binning, grid, to_host(counts).astype(np.int64), to_host(sums), to_host(ends), _distinct_of(xp, values_N)
    )


def _distinct_of(xp: Any, values_N: Array) -> DistinctSketch:
    is_finite_N = xp.isfinite(values_N)
    return _distinct(xp, values_N if bool(xp.all(is_finite_N)) else values_N[is_finite_N])


def _gathered(
    binning: Binning,
    grid: Grid,
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    ends: NDArray[np.floating],
    distinct: DistinctSketch,
) -> ColumnProfile:
    intervals, (negative, positive, nans) = counts[:-3], counts[-3:].tolist()
    slots = np.concatenate([[negative], intervals, [positive, 0, nans]]).astype(np.int64)
    num = int(intervals.sum())
    if not num:
        return ColumnProfile(binning, slots)
    shift = (float(grid.edges_E[0]) + float(grid.edges_E[-2])) / 2
    total, squares, below, above = sums.tolist()
    mean, m2 = shift + total / num, max(squares - total * (total / num), 0.0)
    moments = Moments.of_sums(num, float(ends[:, 0].min()), float(ends[:, 1].max()), mean, m2)
    return ColumnProfile(binning, slots, moments, below, above, distinct)


def kernel_source(dtype: str) -> str:
    """The CUDA source of the fused histogram for "float32" or "float64"."""
    from .grid import CELLS

    narrow = dtype == "float32"
    # NVRTC has no headers of its own, and so no INFINITY.
    words = (
        {"sub": "__fsub_rn", "mul": "__fmul_rn", "inf": "__int_as_float(0x7f800000)"}
        if narrow
        else {"sub": "__dsub_rn", "mul": "__dmul_rn", "inf": "__longlong_as_double(0x7ff0000000000000LL)"}
    )
    return _SOURCE % {"name": dtype, "real": "float" if narrow else "double", "cells": CELLS, **words}


@lru_cache(maxsize=2)
def _kernel(dtype: str) -> Any:
    import cupy

    return cupy.RawKernel(kernel_source(dtype), f"histogram_{dtype}", options=("--std=c++17",))
