"""Owns the fused CUDA kernel: bins, range, moments and distinct hashes of values on a GPU in one read of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, to_host
from .binning import Binning
from .distinct import FIRST, SECOND, SHIFT, SIZE, DistinctSketch
from .grid import BY_VALUE, CELLS, Grid
from .moments import Moments
from .profiles import ColumnProfile

_BLOCKS, _THREADS = 1_056, 256
_SHARED_BYTES = 48 * 1_024
"""What every GPU gives a block without being asked; exact bins can need more."""
_ROOM = 64 * SIZE
"""Hashes below the threshold that one call takes; a quarter of them are expected where all values differ."""
_MIX = {"first": FIRST, "second": SECOND, "shift": SHIFT}

_SOURCE = r"""
extern "C" __global__ void histogram_%(name)s(
    const %(real)s* __restrict__ values, const long long n, const unsigned short* __restrict__ places,
    const %(real)s* __restrict__ edges, const int num_edges, const %(real)s low, const %(real)s scale,
    const int most, const unsigned long long threshold, const int room, unsigned long long* __restrict__ counts,
    double* __restrict__ sums, %(real)s* __restrict__ ends, unsigned long long* __restrict__ hashes,
    unsigned int* __restrict__ num_hashes)
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
            unsigned long long mixed = __double_as_longlong((double)value + 0.0) * %(first)dULL;
            mixed ^= mixed >> %(shift)d;
            mixed *= %(second)dULL;
            mixed ^= mixed >> %(shift)d;
            if (mixed < threshold) {
                const unsigned int place = atomicAdd(num_hashes, 1u);
                if (place < (unsigned int)room) hashes[place] = mixed ? mixed : 1;
            }
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


def fits(grid: Grid) -> bool:
    """True where the kernel can count on this grid."""
    shared_bytes = 4 * (len(grid.edges_E) + 3) * (_THREADS // 32)
    return grid.how == BY_VALUE and grid.most_in_cell <= 64 and shared_bytes <= _SHARED_BYTES


def count(xp: Any, values_N: Array, binning: Binning, grid: Grid) -> tuple[ColumnProfile, DistinctSketch | None]:
    """Count contiguous float32 or float64 values of CuPy; no sketch where few values differ, or some repeat often."""
    num_edges = len(grid.edges_E) - 1
    slots, warps = num_edges + 4, _THREADS // 32
    counts, sums = xp.zeros(slots, dtype=xp.uint64), xp.zeros(4, dtype=xp.float64)
    ends = xp.empty((_BLOCKS * warps, 2), dtype=values_N.dtype)
    hashes, num_hashes = xp.empty(_ROOM, dtype=xp.uint64), xp.zeros(1, dtype=xp.uint32)
    num = values_N.shape[0]
    threshold = min(2**64 - 1, 16 * SIZE * (2**64 // max(num, 1)))
    arguments = (
        values_N,
        np.int64(num),
        xp.asarray(grid.places_G),
        xp.asarray(grid.edges_E),
        np.int32(num_edges),
        grid.low,
        grid.scale,
        np.int32(grid.most_in_cell),
        np.uint64(threshold),
        np.int32(_ROOM),
        counts,
        sums,
        ends,
        hashes,
        num_hashes,
    )
    _kernel(values_N.dtype.name)((_BLOCKS,), (_THREADS,), arguments, shared_mem=4 * slots * warps)
    found = _gathered(binning, grid, to_host(counts).astype(np.int64), to_host(sums), to_host(ends))
    hits = int(num_hashes[0])
    if hits > _ROOM:
        return found, None
    kept = np.unique(to_host(hashes[:hits]))
    return found, DistinctSketch(kept[:SIZE]) if len(kept) >= SIZE or threshold == 2**64 - 1 else None


def _gathered(
    binning: Binning, grid: Grid, counts: NDArray[np.int64], sums: NDArray[np.float64], ends: NDArray[np.floating]
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
    return ColumnProfile(binning, slots, moments, below, above)


def kernel_source(dtype: str) -> str:
    """The CUDA source of the fused histogram for "float32" or "float64"."""
    narrow = dtype == "float32"
    # NVRTC has no headers of its own, and so no INFINITY.
    words = (
        {"sub": "__fsub_rn", "mul": "__fmul_rn", "inf": "__int_as_float(0x7f800000)"}
        if narrow
        else {"sub": "__dsub_rn", "mul": "__dmul_rn", "inf": "__longlong_as_double(0x7ff0000000000000LL)"}
    )
    return _SOURCE % {"name": dtype, "real": "float" if narrow else "double", "cells": CELLS, **_MIX, **words}


@lru_cache(maxsize=2)
def _kernel(dtype: str) -> Any:
    import cupy

    return cupy.RawKernel(kernel_source(dtype), f"histogram_{dtype}", options=("--std=c++17",))
