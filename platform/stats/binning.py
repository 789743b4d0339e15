"""Owns the bins of one column, made once from the reference; counts nothing and reads no current data.

A histogram on a binning is one vector of slots, in this order:
numeric: under, the bins, over, null, NaN; categorical: the categories, other, null.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput
from .columns import Kind, category_values, column_of, kind_of, numeric_values

MAX_BINS = 256
MAX_CATEGORIES = 1_000

_SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


@dataclass(frozen=True, slots=True)
class Binning:
    """Bins of one column of the reference; `InvalidInput` if they do not increase, or repeat.

    Numeric bin i holds edges[i] < value <= edges[i + 1], so the top edge belongs to the last bin. Values up
    to the first edge are under, beyond the last are over. Without a finite value there is one edge, 0.
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    """Numeric: strictly increasing and finite, at most MAX_BINS + 1."""
    categories: tuple[str, ...] = ()
    """Categorical: the most frequent first, at most MAX_CATEGORIES."""

    def __post_init__(self) -> None:
        if self.kind == "numeric":
            rising = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
            if not self.edges or not rising or not all(map(math.isfinite, self.edges)) or self.categories:
                raise InvalidInput("a numeric binning needs finite, strictly increasing edges and no categories")
        elif self.kind == "categorical":
            if self.edges or len(set(self.categories)) != len(self.categories):
                raise InvalidInput("a categorical binning needs distinct categories and no edges")
        else:
            raise InvalidInput(f"a binning is 'numeric' or 'categorical', not {self.kind!r}")

    @property
    def num_bins(self) -> int:
        """Bins that a value of the reference can fall into."""
        return len(self.edges) - 1 if self.kind == "numeric" else len(self.categories)

    @property
    def num_value_slots(self) -> int:
        """Slots that hold a value: the bins and under and over, or the categories and other."""
        return self.num_bins + (2 if self.kind == "numeric" else 1)

    @property
    def num_slots(self) -> int:
        """All slots: those of values, then null, then (numeric only) NaN."""
        return self.num_value_slots + (2 if self.kind == "numeric" else 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        if self.kind == "numeric":
            return {"kind": self.kind, "edges": list(self.edges)}
        return {"kind": self.kind, "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Binning":
        """Return the binning that `to_dict` wrote; a missing field is a KeyError."""
        edges = tuple(float(edge) for edge in values.get("edges", ()))
        return cls(values["kind"], edges, tuple(str(category) for category in values.get("categories", ())))


def _below(value: float) -> float:
    """Return a float32 just below the value, so that the value keeps its bin after a trip through float32."""
    with np.errstate(over="ignore"):
        low = float(np.nextafter(np.float32(value), np.float32(-np.inf)))
        low_wide = float(np.nextafter(value, -np.inf))
    if not math.isfinite(low):
        return max(low_wide, float(np.finfo(np.float64).min))
    # Denormals count as zero in a process that flushes them: keep the edge among the normal numbers.
    return low if abs(low) >= _SMALLEST_NORMAL else -_SMALLEST_NORMAL


def numeric_binning(values_N: NDArray[Any], max_bins: int = MAX_BINS) -> Binning:
    """Cut the finite values into quantile bins, or into one bin a value where few are distinct.

    A value so frequent that two quantiles meet in it gets a bin of its own. So a bin that is not one single
    value holds less than 2 / max_bins of the reference (1 / max_bins where all values differ).

    >>> numeric_binning(np.array([1.0, 2.0, 2.0, 4.0])).edges[1:]
    (1.0, 2.0, 4.0)
    """
    sorted_N = np.sort(values_N[np.isfinite(values_N)])
    if not sorted_N.size:
        return Binning("numeric", edges=(0.0,))
    distinct = np.unique(sorted_N)
    if len(distinct) > max_bins:
        rank = np.arange(1, max_bins + 1)
        quantiles = sorted_N[-(-rank * len(sorted_N) // max_bins) - 1]
        tops, hits = np.unique(quantiles, return_counts=True)
        frequent = tops[hits > 1]
    else:
        tops, frequent = distinct, distinct[:0]
    edges = {float(top) + 0.0 for top in tops} | {_below(float(top)) for top in frequent}
    first = _below(float(sorted_N[0]))
    return Binning("numeric", edges=tuple(sorted({edge for edge in edges if edge > first} | {first})))


def categorical_binning(column: pa.Array | pa.ChunkedArray, max_categories: int = MAX_CATEGORIES) -> Binning:
    """Keep the most frequent categories; ties go by name, so the order of the rows does not matter."""
    tally = pc.value_counts(category_values(column).drop_null())
    pairs = zip(tally.field("counts").to_pylist(), tally.field("values").to_pylist(), strict=True)
    top = heapq.nsmallest(max_categories, pairs, key=lambda pair: (-pair[0], pair[1]))
    return Binning("categorical", categories=tuple(category for _, category in top))


def fit_binnings(table: pa.Table, columns: Sequence[str] | None = None) -> dict[str, Binning]:
    """Make the binning of each column from the reference; without names, of every column that can have one.

    Raises `InvalidInput` for a named column that is missing or has a type without a binning.
    """
    names = list(table.column_names) if columns is None else list(columns)
    binnings: dict[str, Binning] = {}
    for name in names:
        column = column_of(table, name)
        kind = kind_of(column.type)
        if kind == "numeric":
            binnings[name] = numeric_binning(numeric_values(column))
        elif kind == "categorical":
            binnings[name] = categorical_binning(column)
        elif columns is not None:
            raise InvalidInput(
                f"column {name!r} is {column.type}, but only numbers, times, booleans and strings have bins"
            )
    return binnings
