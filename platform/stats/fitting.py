"""Fits the bins of each column to the reference; counts nothing, and reads no current data."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput
from .binning import MAX_BINS, MAX_CATEGORIES, Basis, Binning
from .columns import Type, category_values, column_of, is_valid, kind_of, numeric_values, type_of, vectors
from .cores import num_threads
from .embedding import distances, fit_basis
from .refining import refined

SAMPLE_ROWS = 131_072
"""Rows of the reference whose quantiles make the edges, taken at equal steps; the rest are only counted."""

EXACT_VALUES = 16_384

_SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


def fit_binnings(
    table: pa.Table,
    columns: Sequence[str] | None = None,
    *,
    exact: bool = False,
) -> dict[str, Binning]:
    """Make the binning of each column from the reference; without names, of every column that can have one.

    A large table is fitted by a sample, so some of its rows may lie outside the bins: see `widened`.

    `exact` gives each different value of a small reference a bin of its own, and one to what lies between two:
    then KS and Wasserstein are those of the raw values. Raises `InvalidInput` for a named
    column that is missing or has a type without a binning.
    """
    names = list(table.column_names) if columns is None else list(columns)
    fitted: dict[str, Future[Binning | None]] = {}
    with ThreadPoolExecutor(num_threads()) as pool:
        for name in names:
            column = column_of(table, name)
            if type_of(column.type) is not None:
                fitted[name] = pool.submit(_named, name, column, exact, is_wanted=columns is not None)
            elif columns is not None:
                rule = "only numbers, times, booleans, strings and lists of numbers have bins"
                raise InvalidInput(f"column {name!r} is {column.type}, but {rule}")
    made = {name: found.result() for name, found in fitted.items()}
    return {name: binning for name, binning in made.items() if binning is not None}


def fit_binning(column: pa.ChunkedArray, *, exact: bool = False) -> Binning:
    """Make the binning of one column whose type can have one."""
    kind, type_ = kind_of(column.type), type_of(column.type)
    assert type_ is not None
    if kind == "boolean":
        return Binning(type_, categories=("false", "true"), is_discrete=True)
    if kind == "categorical":
        return categorical_binning(column)
    sample = column.combine_chunks() if exact and kind != "embedding" else _sample(column)
    if kind == "embedding":
        vectors_NW = vectors(sample)
        basis = fit_basis(vectors_NW)
        apart_N = distances(vectors_NW, basis)
        return refined(numeric_binning(apart_N, "vector", basis=basis), apart_N)
    values_N, valid_N = numeric_values(sample), is_valid(sample)
    values_N = values_N if valid_N is None else values_N[valid_N]
    made = numeric_binning(values_N, type_, exact=exact)
    return made if exact else refined(made, values_N)


def _named(name: str, column: pa.ChunkedArray, exact: bool, *, is_wanted: bool) -> Binning | None:
    try:
        return fit_binning(column, exact=exact)
    except InvalidInput as error:
        if not is_wanted and kind_of(column.type) == "embedding":
            return None  # lists of several lengths, or none at all, are no vectors
        raise InvalidInput(f"column {name!r}: {error}") from None


def _sample(column: pa.ChunkedArray) -> pa.Array:
    if len(column) > SAMPLE_ROWS:
        step = -(-len(column) // SAMPLE_ROWS)
        if column.num_chunks == 1 and not column.null_count and pa.types.is_floating(column.type):
            return pa.array(np.ascontiguousarray(column.chunk(0).to_numpy()[::step]))
        column = _take(column, np.arange(0, len(column), step))
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _take(column: pa.ChunkedArray, places_N: NDArray[np.int64]) -> pa.ChunkedArray:
    # Chunk by chunk: taking from a chunked array copies all of it first.
    starts = np.cumsum([0, *map(len, column.chunks)])
    bounds = np.searchsorted(places_N, starts)
    parts = [
        chunk.take(pa.array(places_N[low:high] - start))
        for chunk, start, low, high in zip(column.chunks, starts, bounds, bounds[1:], strict=False)
    ]
    return pa.chunked_array(parts, column.type)


def just_below(value: float) -> float:
    """Return a float32 just below the value, so that the value keeps its bin after a trip through float32."""
    with np.errstate(over="ignore"):
        low = float(np.nextafter(np.float32(value), np.float32(-np.inf)))
        low_wide = float(np.nextafter(value, -np.inf))
    if not math.isfinite(low):
        return max(low_wide, float(np.finfo(np.float64).min))
    # Denormals count as zero in a process that flushes them: keep the edge among the normal numbers.
    return low if abs(low) >= _SMALLEST_NORMAL else -_SMALLEST_NORMAL


def numeric_binning(
    values_N: NDArray[Any],
    type_: Type = "fractional",
    *,
    max_bins: int = MAX_BINS,
    basis: Basis | None = None,
    exact: bool = False,
) -> Binning:
    """Cut the finite values into quantile bins, or into one bin a value where few are distinct.

    A value so frequent that two quantiles meet in it gets a bin of its own. So a bin that is not one single
    value holds less than 2 / max_bins of the values (1 / max_bins where all differ).

    >>> numeric_binning(np.array([1.0, 2.0, 2.0, 4.0])).edges[1:]
    (1.0, 2.0, 4.0)
    """
    sorted_N = np.sort(values_N[np.isfinite(values_N)])
    if not sorted_N.size:
        return Binning(type_, edges=(0.0,), basis=basis)
    rises_N = sorted_N[1:] != sorted_N[:-1]
    num_distinct = 1 + int(np.count_nonzero(rises_N))
    if exact and num_distinct > EXACT_VALUES:
        raise InvalidInput(f"the reference has {num_distinct} different values, but exact bins take {EXACT_VALUES}")
    is_discrete = exact or num_distinct <= max_bins
    if is_discrete:
        tops = sorted_N[np.concatenate([[True], rises_N])]
        frequent = tops if exact else tops[:0]
    else:
        rank = np.arange(1, max_bins + 1)
        tops, hits = np.unique(sorted_N[-(-rank * len(sorted_N) // max_bins) - 1], return_counts=True)
        frequent = tops[hits > 1]
    first = just_below(float(sorted_N[0]))
    below = [just_below(value) for value in frequent.tolist()]
    edges = np.unique(np.concatenate([tops.astype(np.float64) + 0.0, below, [first]]))
    return Binning(type_, edges=tuple(edges[edges >= first].tolist()), basis=basis, is_discrete=is_discrete)


def categorical_binning(column: pa.Array | pa.ChunkedArray, max_categories: int = MAX_CATEGORIES) -> Binning:
    """Keep the most frequent categories; ties go by name, so the order of the rows does not matter."""
    tally = pc.value_counts(category_values(column).drop_null())
    pairs = zip(tally.field("counts").to_pylist(), tally.field("values").to_pylist(), strict=True)
    top = heapq.nsmallest(max_categories, pairs, key=lambda pair: (-pair[0], pair[1]))
    return Binning("string", categories=tuple(category for _, category in top), is_discrete=True)
