"""Owns running tallies: what is counted of one column, batch after batch, until it is asked for its profile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .binning import Binning
from .columns import category_values, is_valid, numeric_values, vectors
from .device import profile_array
from .distinct import DistinctSketch, hash_texts
from .embedding import VectorSums, distances
from .frequent import FrequentTexts
from .grid import Grid, make_grid
from .histogram import edges_like
from .moments import Moments
from .profiles import ColumnProfile

# N = rows, B = slots

NO_MASK = np.empty(0, np.bool_)


class Tally(Protocol):
    """Counts the batches of one column."""

    def add(self, column: pa.Array) -> None:
        """Count a batch of rows."""
        ...

    def profile(self) -> ColumnProfile:
        """What was counted so far."""
        ...


def make_tally(binning: Binning, xp: Any = np) -> Tally:
    """The tally that fits a binning; numbers are counted by `xp`, NumPy or CuPy."""
    if binning.kind == "embedding":
        return VectorTally(binning)
    if binning.is_ordered and xp is not np:
        return DeviceTally(binning, xp)
    return NumberTally(binning) if binning.is_ordered else TextTally(binning)


class NumberTally:
    """Counts numbers in one compiled pass; where nulls are, their rows hold anything."""

    def __init__(self, binning: Binning) -> None:
        from . import fused  # Numba takes half a second to import, and only those who count need it

        self._fused, self._binning = fused, binning
        self._counts_B = np.zeros(len(binning.edges) + 1, np.int64)
        self._state = np.array([0.0, np.inf, -np.inf, 0.0, 0.0, 0.0, 0.0])
        self._special = np.zeros(4, np.int64)
        self._table, self._sketch = fused.new_sketch()
        self._grids: dict[np.dtype[Any], Grid] = {}

    def add(self, column: pa.Array) -> None:
        """Count a batch of rows."""
        self.add_values(numeric_values(column), is_valid(column))

    def add_values(self, values_N: NDArray[Any], valid_N: NDArray[np.bool_] | None = None) -> None:
        """Count float32 or float64 values."""
        if values_N.dtype not in self._grids:
            self._grids[values_N.dtype] = make_grid(edges_like(self._binning.edges, values_N))
        grid = self._grids[values_N.dtype]
        values_N = np.ascontiguousarray(values_N)
        self._fused.scan(
            values_N,
            values_N.view(np.uint64 if values_N.dtype == np.float64 else np.uint32),
            NO_MASK if valid_N is None else valid_N,
            grid.places_G,
            grid.edges_E,
            grid.how,
            grid.low,
            grid.scale,
            grid.keys,
            grid.most_in_cell,
            self._counts_B,
            self._state,
            self._special,
            self._table,
            self._sketch,
        )

    def profile(self) -> ColumnProfile:
        """What was counted so far."""
        count, low, high, mean, m2, below, above = self._state.tolist()
        nans, negative, positive, nulls = self._special.tolist()
        counts = np.concatenate([[negative], self._counts_B, [positive, nulls, nans]]).astype(np.int64)
        moments = Moments.of_sums(int(count), low, high, mean, m2)
        distinct = DistinctSketch.of_hashes(self._table[self._table != 0])
        return ColumnProfile(self._binning, counts, moments, below, above, distinct)


class DeviceTally:
    """Counts numbers on another array module, where each batch is brought to."""

    def __init__(self, binning: Binning, xp: Any) -> None:
        self._xp, self._found = xp, ColumnProfile.empty(binning)

    def add(self, column: pa.Array) -> None:
        """Count a batch of rows."""
        nulls = column.null_count
        part = profile_array(self._xp.asarray(numeric_values(column.drop_null())), self._found.binning)
        if nulls:
            counts = part.counts.copy()
            counts[part.binning.num_value_slots] += nulls
            part = replace(part, counts=counts)
        self._found = self._found.merge(part)

    def profile(self) -> ColumnProfile:
        """What was counted so far."""
        return self._found


class TextTally:
    """Counts texts and booleans: each batch is reduced to its different values first."""

    def __init__(self, binning: Binning) -> None:
        self._binning = binning
        self._known = pa.array(binning.categories, pa.large_string())
        self._counts_B = np.zeros(binning.num_slots, np.int64)
        self._distinct, self._unseen = DistinctSketch(), FrequentTexts()

    def add(self, column: pa.Array) -> None:
        """Count a batch of rows."""
        if pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())  # Arrow neither filters nor counts views
        tally, nulls = pc.value_counts(column.drop_null() if column.null_count else column), column.null_count
        texts, counts_N = category_values(tally.field("values")), tally.field("counts").to_numpy()
        if pa.types.is_dictionary(column.type):
            texts, counts_N, unnamed = _by_text(texts, counts_N)
            nulls += unnamed
        slots_N = pc.index_in(texts, value_set=self._known).fill_null(len(self._known)).to_numpy()
        self._counts_B += np.bincount(slots_N, weights=counts_N, minlength=len(self._counts_B)).astype(np.int64)
        self._counts_B[self._binning.num_value_slots] += nulls
        self._distinct = self._distinct.merge(DistinctSketch.of_hashes(hash_texts(texts)))
        is_other_N = slots_N == len(self._known)
        if is_other_N.any():
            others = texts.filter(pa.array(is_other_N))
            self._unseen = self._unseen.merge(FrequentTexts.of(others, counts_N[is_other_N]))

    def profile(self) -> ColumnProfile:
        """What was counted so far."""
        return ColumnProfile(self._binning, self._counts_B.copy(), distinct=self._distinct, unseen=self._unseen)


def _by_text(texts: pa.Array, counts_N: NDArray[np.int64]) -> tuple[pa.Array, NDArray[np.int64], int]:
    """Add up the entries of a dictionary, which may hold a text twice, and null as an entry."""
    encoded = texts.dictionary_encode()
    num = len(encoded.dictionary)
    places_N = encoded.indices.fill_null(num).to_numpy()
    sums_N = np.bincount(places_N, weights=counts_N, minlength=num + 1).astype(np.int64)
    return encoded.dictionary, sums_N[:num], int(sums_N[num])


class VectorTally:
    """Counts vectors by their distance from the reference's centre, and adds them up."""

    def __init__(self, binning: Binning) -> None:
        assert binning.basis is not None
        self._binning, self._basis = binning, binning.basis
        self._distances = NumberTally(binning)
        self._sums, self._nulls = VectorSums.empty(binning.basis), 0

    def add(self, column: pa.Array) -> None:
        """Count a batch of rows; raises `InvalidInput` for a vector of another width."""
        vectors_NW = vectors(column, len(self._basis.centre))
        self._nulls += column.null_count
        if not len(vectors_NW):
            return
        self._distances.add_values(distances(vectors_NW, self._basis))
        finite_NW = vectors_NW[np.isfinite(vectors_NW).all(axis=1)]
        self._sums = self._sums.merge(VectorSums.of(finite_NW, self._basis))

    def profile(self) -> ColumnProfile:
        """What was counted so far."""
        found = self._distances.profile()
        counts = found.counts.copy()
        counts[self._binning.num_value_slots] += self._nulls
        return ColumnProfile(self._binning, counts, found.moments, found.below, found.above, vectors=self._sums)
