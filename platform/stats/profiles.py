"""Owns profiles: mergeable statistics of a table's columns; reads no table, fits no bins, judges no drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from .binning import Binning
from .distinct import DistinctSketch
from .embedding import VectorSums
from .frequent import FrequentTexts
from .moments import Moments

# S = slots


@dataclass(frozen=True, slots=True, eq=False)
class ColumnProfile:
    """What is known of one column: its binning, a count a slot, moments of the finite values, distinct values.

    Null, NaN and the infinities have slots of their own. Counts sum to the rows.
    """

    binning: Binning
    counts: NDArray[np.int64]
    """Shape (S,), in the binning's order; not to be written to."""
    moments: Moments = field(default_factory=Moments)
    """Of the finite numbers; for embeddings of their distance from the reference's centre."""
    below: float = 0.0
    """How far the values under the first edge lie from it, in sum."""
    above: float = 0.0
    """How far the values over the last edge lie from it, in sum."""
    distinct: DistinctSketch = field(default_factory=DistinctSketch)
    """Of the finite numbers or the texts; empty for embeddings."""
    unseen: FrequentTexts = field(default_factory=FrequentTexts)
    """The most frequent texts that are no category of the binning."""
    vectors: VectorSums | None = None
    """Of the finite vectors of an embedding."""

    def __post_init__(self) -> None:
        if self.counts.shape != (self.binning.num_slots,) or self.counts.min() < 0:
            raise InvalidInput(
                f"{len(self.counts)} counts do not fit {self.binning.num_slots} slots, or one is negative"
            )

    @classmethod
    def empty(cls, binning: Binning) -> ColumnProfile:
        """Return the profile of no rows, which changes nothing when merged."""
        sums = None if binning.basis is None else VectorSums.empty(binning.basis)
        return cls(binning, np.zeros(binning.num_slots, np.int64), vectors=sums)

    @property
    def count(self) -> int:
        """Rows, nulls included."""
        return int(self.counts.sum())

    @property
    def value_counts(self) -> NDArray[np.int64]:
        """Counts of the slots that hold values: without null and NaN."""
        return self.counts[: self.binning.num_value_slots]

    @property
    def values(self) -> int:
        """Rows that hold a value: neither null nor NaN."""
        return int(self.value_counts.sum())

    @property
    def nulls(self) -> int:
        """Rows without a value."""
        return int(self.counts[self.binning.num_value_slots])

    @property
    def nans(self) -> int:
        """Rows that hold NaN; 0 for categories."""
        return int(self.counts[-1]) if self.binning.is_ordered else 0

    @property
    def negative_infs(self) -> int:
        """Rows that hold -inf; 0 for categories."""
        return int(self.counts[0]) if self.binning.is_ordered else 0

    @property
    def positive_infs(self) -> int:
        """Rows that hold +inf; 0 for categories."""
        return int(self.counts[self.binning.num_value_slots - 1]) if self.binning.is_ordered else 0

    @property
    def infs(self) -> int:
        """Rows that hold an infinity."""
        return self.negative_infs + self.positive_infs

    @property
    def other(self) -> int:
        """Rows whose text is no category of the binning: new, or too rare in the reference; 0 where ordered."""
        return 0 if self.binning.is_ordered else int(self.counts[self.binning.num_bins])

    @property
    def min(self) -> float | None:
        """Smallest finite value."""
        return self.moments.min

    @property
    def max(self) -> float | None:
        """Largest finite value."""
        return self.moments.max

    @property
    def mean(self) -> float | None:
        """Mean of the finite values; None without one."""
        return self.moments.mean if self.moments.count else None

    @property
    def m2(self) -> float | None:
        """Sum of squared deviations of the finite values from their mean."""
        return self.moments.m2

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the finite values; None below two."""
        return self.moments.std

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ColumnProfile) or not np.array_equal(self.counts, other.counts):
            return False
        mine, theirs = (
            (one.binning, one.moments, one.below, one.above, one.distinct, one.unseen, one.vectors)
            for one in (self, other)
        )
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """Add two profiles of disjoint rows; the bins must be the same."""
        if self.binning is not other.binning and self.binning != other.binning:
            raise InvalidInput("profiles add only on the same bins, but these two have different ones")
        both = None if self.vectors is None or other.vectors is None else self.vectors.merge(other.vectors)
        return ColumnProfile(
            self.binning,
            self.counts + other.counts,
            self.moments.merge(other.moments),
            self.below + other.below,
            self.above + other.above,
            self.distinct.merge(other.distinct),
            self.unseen.merge(other.unseen),
            both,
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """Profiles of a table's columns, by name; every column has seen the same rows."""

    columns: Mapping[str, ColumnProfile]
    rows: int

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if column.count != self.rows:
                raise InvalidInput(f"column {name!r} has {column.count} rows, but the profile has {self.rows}")

    @classmethod
    def empty(cls, binnings: Mapping[str, Binning]) -> Profile:
        """Return the profile of no rows, which changes nothing when merged."""
        return cls({name: ColumnProfile.empty(binning) for name, binning in binnings.items()}, 0)

    @property
    def binnings(self) -> dict[str, Binning]:
        """The binning of each column."""
        return {name: column.binning for name, column in self.columns.items()}

    def select(self, names: Iterable[str]) -> Profile:
        """The profile of some of the columns; `InvalidInput` for one that it has not."""
        kept = {}
        for name in names:
            if name not in self.columns:
                raise InvalidInput(f"the profile has no column {name!r}; it has {', '.join(self.columns) or 'none'}")
            kept[name] = self.columns[name]
        return Profile(kept, self.rows)

    def require_same_bins(self, other: Profile) -> None:
        """Raise `InvalidInput` with the first column on which the two profiles cannot be put together."""
        if only := sorted(self.columns.keys() ^ other.columns.keys()):
            raise InvalidInput(f"column {only[0]!r} is in only one of the two profiles, but it must be in both")
        for name, column in self.columns.items():
            mine, theirs = column.binning, other.columns[name].binning
            if mine is not theirs and mine != theirs:
                raise InvalidInput(f"the profiles have different bins for column {name!r}, but need the same")

    def merge(self, other: Profile) -> Profile:
        """Add two profiles of disjoint rows: any order and grouping gives the same integers."""
        self.require_same_bins(other)
        columns = {name: column.merge(other.columns[name]) for name, column in self.columns.items()}
        return Profile(columns, self.rows + other.rows)

    @staticmethod
    def merge_all(profiles: Iterable[Profile]) -> Profile:
        """Add one profile or more; `InvalidInput` for none, since their columns are unknown."""
        parts = list(profiles)
        if not parts:
            raise InvalidInput("merging needs at least one profile")
        return reduce(Profile.merge, parts)
