"""Owns the one pass over numbers on a CPU: bins, range, moments and distinct hashes together, compiled by Numba.

It works block by block, each block within the first cache: loops that the compiler turns into vector
instructions, and one that looks bins up. What it costs is in docs/benchmarks.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .distinct import FIRST, SECOND, SHIFT, SIZE
from .grid import BY_PATTERN, BY_VALUE, CELLS

# N = values, B = slots

BLOCK = 2_048
LANES = 32
TABLE = 4 * SIZE
"""Cells of the open-addressing table that holds the hashes below the threshold."""
MOST_HELD = 5 * SIZE // 2
"""Hashes in the table before the threshold is lowered."""

COUNT, LOW, HIGH, MEAN, M2, BELOW, ABOVE = range(7)
NAN, NEGATIVE, POSITIVE, NULL = range(4)
THRESHOLD, HELD = range(2)

_F, _S, _SH = np.uint64(FIRST), np.uint64(SECOND), np.uint64(SHIFT)
_ONE, _ZERO, _MASK = np.uint64(1), np.uint64(0), np.uint64(TABLE - 1)
_BITS_OF_ONE = np.int64(0x3FF0000000000000)


@njit(nogil=True, cache=True)
def _gather(values: Any, first: int, last: int, valid: Any, out: Any, special: Any) -> int:
    """Copy the finite values of a block; count the others."""
    kept = 0
    for i in range(first, last):
        if len(valid) and not valid[i]:
            special[NULL] += 1
            continue
        value = values[i]
        if np.isfinite(value):
            out[kept] = value
            kept += 1
        elif np.isnan(value):
            special[NAN] += 1
        elif value < 0:
            special[NEGATIVE] += 1
        else:
            special[POSITIVE] += 1
    return kept


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def _shifted_sums(values: Any, first: int, last: int, shift: float) -> tuple[float, float]:
    total = squares = 0.0
    for i in range(first, last):
        apart = np.float64(values[i]) - shift
        total += apart
        squares += apart * apart
    return total, squares


@njit(nogil=True, cache=True)
def _range(values: Any, first: int, last: int, state: Any) -> None:
    """Lane by lane: as one running minimum the compiler takes no vector instructions, and three times as long."""
    low, high = np.full(LANES, values[first]), np.full(LANES, values[first])
    whole = first + (last - first) // LANES * LANES
    for start in range(first, whole, LANES):
        for lane in range(LANES):
            value = values[start + lane]
            low[lane] = value if value < low[lane] else low[lane]
            high[lane] = value if value > high[lane] else high[lane]
    for i in range(whole, last):
        low[0], high[0] = min(low[0], values[i]), max(high[0], values[i])
    for lane in range(LANES):
        state[LOW], state[HIGH] = min(state[LOW], low[lane]), max(state[HIGH], high[lane])


@njit(nogil=True, cache=True)
def _shift(values: Any, first: int, state: Any) -> float:
    return state[MEAN] if state[COUNT] else np.float64(values[first])


@njit(nogil=True, cache=True)
def _moments(values: Any, first: int, last: int, shift: float, total: float, squares: float, state: Any) -> None:
    """Merge a block into the running moments. Source: Chan, Golub, LeVeque (1979)."""
    num = last - first
    if total * total > 100 * num * (squares - total * total / num):
        # The shift lies ten deviations off: the difference would lose digits, so the block is read again.
        shift += total / num
        total, squares = _shifted_sums(values, first, last, shift)
    before, apart = state[COUNT], total / num
    delta = shift + apart - state[MEAN]
    state[COUNT] = before + num
    state[MEAN] += delta * (num / state[COUNT])
    state[M2] += max(squares - total * apart, 0.0) + delta * delta * (before * (num / state[COUNT]))


@njit(nogil=True, cache=True)
def _cells_by_value(values: Any, first: int, last: int, low: Any, scale: Any, out: Any) -> None:
    top, zero = values.dtype.type(CELLS - 1), values.dtype.type(0)
    for i in range(first, last):
        out[i - first] = np.int32(min(max((values[i] - low) * scale, zero), top))


@njit(nogil=True, cache=True)
def _cells_by_pattern(bits: Any, first: int, last: int, keys: Any, out: Any) -> None:
    shift, low, high, top, full = keys[0], keys[1], keys[2], keys[3], keys[4]
    for i in range(first, last):
        bit = np.uint64(bits[i])
        key = bit ^ (full if bit & top else top)
        out[i - first] = np.int32((min(max(key, low), high) - low) >> shift)


@njit(nogil=True, cache=True)
def _cells_around(
    values: Any, first: int, last: int, middle: float, scale: float, keys: Any, wide: Any, bits: Any, out: Any
) -> None:
    """Cells in steps of the pattern of 1 + |u|, where u is the value from the middle in units of the scale."""
    shift, low, high = np.int64(keys[0]), np.int64(keys[1]), np.int64(keys[2])
    for j in range(last - first):
        wide[j] = abs((np.float64(values[first + j]) - middle) * scale) + 1.0
    for j in range(last - first):
        key = np.int64(bits[j]) - _BITS_OF_ONE
        if np.float64(values[first + j]) < middle:
            key = -key
        out[j] = np.int32((min(max(key, low), high) - low) >> shift)


@njit(nogil=True, cache=True)
def _count_one(values: Any, first: int, num: int, cells: Any, places: Any, edges: Any, even: Any, odd: Any) -> None:
    """Where no cell holds two edges. Two tallies in turn: one waits for its last store where neighbours share a bin."""
    for j in range(0, num - 1, 2):
        p, q = np.int64(places[cells[j]]), np.int64(places[cells[j + 1]])
        p += edges[p] < values[first + j]
        q += edges[q] < values[first + j + 1]
        even[p] += 1
        odd[q] += 1
    if num % 2:
        p = np.int64(places[cells[num - 1]])
        even[p + (edges[p] < values[first + num - 1])] += 1


@njit(nogil=True, cache=True)
def _count(values: Any, first: int, num: int, cells: Any, places: Any, edges: Any, most: int, counts: Any) -> None:
    for j in range(num):
        p, value = np.int64(places[cells[j]]), values[first + j]
        if most <= 8:
            for _ in range(most):
                p += edges[p] < value
        else:
            p = np.int64(_search(edges, p, np.int64(places[cells[j] + 1]), value))
        counts[p] += 1


@njit(nogil=True, cache=True)
def _search(edges: Any, low: Any, high: Any, value: Any) -> Any:
    while low < high:
        middle = (low + high) >> 1
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def _beyond(values: Any, first: int, last: int, low: Any, high: Any, state: Any) -> None:
    """How far the values outside the edges lie from them, in sum; few blocks hold any."""
    for i in range(first, last):
        if values[i] <= low:
            state[BELOW] += np.float64(low) - np.float64(values[i])
        elif values[i] > high:
            state[ABOVE] += np.float64(values[i]) - np.float64(high)


@njit(nogil=True, cache=True)
def _hash(values: Any, first: int, last: int, threshold: Any, out: Any) -> int:
    hits = 0
    for i in range(first, last):
        # As float64, and -0 as 0: equal numbers have equal hashes whatever their type.
        mixed = np.float64(np.float64(values[i]) + 0.0).view(np.uint64) * _F
        mixed ^= mixed >> _SH
        mixed *= _S
        mixed ^= mixed >> _SH
        mixed = max(mixed, _ONE)
        out[i - first] = mixed
        hits += mixed < threshold
    return hits


@njit(nogil=True, cache=True)
def _keep(hashes: Any, num: int, table: Any, sketch: Any) -> None:
    """Put hashes below the threshold into the table, and lower the threshold where it gets full."""
    for j in range(num):
        value = hashes[j]
        if value >= sketch[THRESHOLD]:
            continue
        place = value & _MASK
        while table[place] != _ZERO and table[place] != value:
            place = (place + _ONE) & _MASK
        if table[place] == value:
            continue
        table[place] = value
        sketch[HELD] += _ONE
        if sketch[HELD] >= np.uint64(MOST_HELD):
            _lower(table, sketch)


@njit(nogil=True, cache=True)
def _lower(table: Any, sketch: Any) -> None:
    """Halve the threshold: about half of the hashes stay, more than SIZE of them; sorting takes longer."""
    held = table[table != _ZERO]
    threshold = sketch[THRESHOLD] >> _ONE
    if np.sum(held < threshold) < SIZE:  # the hashes are uneven, which no input that was not made for it brings about
        threshold = np.sort(held)[SIZE]
    table[:] = _ZERO
    kept = 0
    for value in held:
        if value < threshold:
            place = value & _MASK
            while table[place] != _ZERO:
                place = (place + _ONE) & _MASK
            table[place] = value
            kept += 1
    sketch[THRESHOLD], sketch[HELD] = threshold, np.uint64(kept)


@njit(nogil=True, cache=True)
def scan(
    values: Any,
    bits: Any,
    valid: Any,
    places: Any,
    edges: Any,
    how: int,
    low: Any,
    scale: Any,
    keys: Any,
    most: int,
    counts: Any,
    state: Any,
    special: Any,
    table: Any,
    sketch: Any,
) -> None:
    """Add values (N,) of float32 or float64 to the tallies; `bits` is their memory as integers.

    `valid` (N,) or empty says which are not null. `how`, `low`, `scale` and `keys` are the grid's. `counts` (B,) takes
    the finite ones, `special` the others.
    """
    cells = np.empty(BLOCK, np.int32)
    hashes = np.empty(BLOCK, np.uint64)
    wide = np.empty(BLOCK, np.float64)
    wide_bits = wide.view(np.uint64)
    finite = np.empty(BLOCK, values.dtype)
    finite_bits = finite.view(bits.dtype)
    odd = np.zeros(len(counts), np.int64)
    lowest, highest = edges[0], edges[len(edges) - 2]
    for start in range(0, len(values), BLOCK):
        block, block_bits, first, last = values, bits, start, min(start + BLOCK, len(values))
        shift, total, squares = 0.0, np.nan, np.nan
        if not len(valid):
            shift = _shift(values, first, state)
            total, squares = _shifted_sums(values, first, last, shift)
        if not np.isfinite(total) or not np.isfinite(squares):
            # Some value is null, NaN or infinite (or the sums are too large, which does no harm).
            kept = _gather(values, first, last, valid, finite, special)
            block, block_bits, first, last = finite, finite_bits, 0, kept
            if kept == 0:
                continue
            shift = _shift(block, first, state)
            total, squares = _shifted_sums(block, first, last, shift)
        _range(block, first, last, state)
        _moments(block, first, last, shift, total, squares, state)
        if how == BY_VALUE:
            _cells_by_value(block, first, last, low, scale, cells)
        elif how == BY_PATTERN:
            _cells_by_pattern(block_bits, first, last, keys, cells)
        else:
            _cells_around(block, first, last, low, scale, keys, wide, wide_bits, cells)
        outside = counts[0] + counts[len(counts) - 1] + odd[0] + odd[len(counts) - 1]
        if most <= 1:
            _count_one(block, first, last - first, cells, places, edges, counts, odd)
        else:
            _count(block, first, last - first, cells, places, edges, most, counts)
        if counts[0] + counts[len(counts) - 1] + odd[0] + odd[len(counts) - 1] != outside:
            _beyond(block, first, last, lowest, highest, state)
        if _hash(block, first, last, sketch[THRESHOLD], hashes):
            _keep(hashes, last - first, table, sketch)
    for slot in range(len(counts)):
        counts[slot] += odd[slot]


def new_sketch() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """An empty table of hashes, and its threshold and fill."""
    return np.zeros(TABLE, np.uint64), np.array([2**64 - 1, 0], np.uint64)
