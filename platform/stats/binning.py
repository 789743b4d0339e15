"""Owns the bins of one column: what they are, and the order of their slots; fits none and counts nothing.

A histogram on a binning is one vector of slots, in this order:
ordered columns: -inf, under, the bins, over, +inf, null, NaN; categories: the categories, other, null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInput
from .columns import KIND_OF, Kind, Type

RESOLUTION = 256
"""No bin that is not one single value holds more than 1 / RESOLUTION of the reference."""
MAX_BINS = 320
"""A quarter above the resolution, so that edges from a sample keep it as well."""
MAX_CATEGORIES = 1_000


@dataclass(frozen=True, slots=True)
class Basis:
    """What an embedding is measured from: the reference's centre, and the kernel of its random features."""

    centre: tuple[float, ...]
    """Mean vector of the reference; as long as each vector."""
    bandwidth: float
    """Of the Gaussian kernel: the median distance of pairs of the reference; above 0."""
    null_mean: float = 0.0
    null_variance: float = 0.0
    """Mean and variance, for one row on each side, of the squared distance between mean features without a drift."""


@dataclass(frozen=True, slots=True)
class Binning:
    """Bins of one column of the reference; `InvalidInput` if they do not increase, or repeat.

    Bin i of an ordered column holds edges[i] < value <= edges[i + 1], so the top edge belongs to the last bin.
    Values up to the first edge are under, beyond the last are over. Without a finite value there is one edge, 0.
    An embedding is binned by the distance of each vector from the reference's centre.
    """

    type: Type
    edges: tuple[float, ...] = ()
    """Ordered: strictly increasing and finite, at most twice MAX_BINS."""
    categories: tuple[str, ...] = ()
    """Not ordered: the most frequent first, at most MAX_CATEGORIES."""
    basis: Basis | None = None
    """Of an embedding."""
    is_discrete: bool = False
    """True where each bin holds one single value of the reference, its upper edge."""

    def __post_init__(self) -> None:
        if self.type not in KIND_OF:
            raise InvalidInput(f"a binning's type is {self.type!r}, but it must be one of {', '.join(KIND_OF)}")
        if (self.basis is None) == (self.kind == "embedding"):
            raise InvalidInput("a binning has a basis if it is of vectors, and only then")
        if self.is_ordered:
            rising = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
            if not self.edges or not rising or not all(map(math.isfinite, self.edges)) or self.categories:
                raise InvalidInput("a binning of numbers needs finite, strictly increasing edges and no categories")
        elif self.edges or len(set(self.categories)) != len(self.categories):
            raise InvalidInput("a binning of categories needs distinct categories and no edges")

    @property
    def kind(self) -> Kind:
        """How the column is binned."""
        return KIND_OF[self.type]

    @property
    def is_ordered(self) -> bool:
        """True for numbers, times and distances, whose bins lie in order."""
        return self.kind not in ("categorical", "boolean")

    @property
    def num_bins(self) -> int:
        """Bins that a value of the reference can fall into."""
        return len(self.edges) - 1 if self.is_ordered else len(self.categories)

    @property
    def num_value_slots(self) -> int:
        """Slots that hold a value: the bins, under, over and the infinities, or the categories and other."""
        return self.num_bins + (4 if self.is_ordered else 1)

    @property
    def num_slots(self) -> int:
        """All slots: those of values, then null, then (ordered only) NaN."""
        return self.num_value_slots + (2 if self.is_ordered else 1)

    @property
    def first_bin(self) -> int:
        """Place of the first bin among the slots."""
        return 2 if self.is_ordered else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found: dict[str, Any] = {"type": self.type, "is_discrete": self.is_discrete}
        if self.basis is not None:
            basis = self.basis
            found["basis"] = [list(basis.centre), basis.bandwidth, basis.null_mean, basis.null_variance]
        return found | ({"edges": list(self.edges)} if self.is_ordered else {"categories": list(self.categories)})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Binning:
        """Return the binning that `to_dict` wrote; a missing field is a KeyError."""
        basis = None
        if values.get("basis") is not None:
            centre, *numbers = values["basis"]
            basis = Basis(tuple(map(float, centre)), *map(float, numbers))
        edges = tuple(map(float, values.get("edges") or ()))
        categories = tuple(map(str, values.get("categories") or ()))
        return cls(values["type"], edges, categories, basis, bool(values["is_discrete"]))
