"""Owns profiles: mergeable statistics of a table's columns; reads no table, fits no bins, judges no drift."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from ..errors import InvalidInput
from .binning import Binning
from .moments import Moments

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What is known of one column: its binning, a count a slot, infinities, moments of the finite values.

    Infinities are also in the slots under and over; null and NaN have their slots. Counts sum to the rows.
    """

    binning: Binning
    counts: tuple[int, ...]
    infs: int = 0
    moments: Moments = field(default_factory=Moments)

    def __post_init__(self) -> None:
        if len(self.counts) != self.binning.num_slots or min(self.counts) < 0:
            raise InvalidInput(
                f"{len(self.counts)} counts do not fit {self.binning.num_slots} slots, or one is negative"
            )

    @classmethod
    def empty(cls, binning: Binning) -> "ColumnProfile":
        """Return the profile of no rows, which changes nothing when merged."""
        return cls(binning, (0,) * binning.num_slots)

    @property
    def count(self) -> int:
        """Rows, nulls included."""
        return sum(self.counts)

    @property
    def value_counts(self) -> tuple[int, ...]:
        """Counts of the slots that hold values: without null and NaN."""
        return self.counts[: self.binning.num_value_slots]

    @property
    def nulls(self) -> int:
        """Rows without a value."""
        return self.counts[self.binning.num_value_slots]

    @property
    def nans(self) -> int:
        """Rows that hold NaN; 0 for a categorical column."""
        return self.counts[-1] if self.binning.kind == "numeric" else 0

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

    def merge(self, other: "ColumnProfile") -> "ColumnProfile":
        """Add two profiles of disjoint rows; the bins must be the same."""
        if self.binning != other.binning:
            raise InvalidInput("profiles add only on the same bins, but these two have different ones")
        counts = tuple(map(int.__add__, self.counts, other.counts))
        return ColumnProfile(self.binning, counts, self.infs + other.infs, self.moments.merge(other.moments))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "binning": self.binning.to_dict(),
            "counts": list(self.counts),
            "infs": self.infs,
            "moments": self.moments.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ColumnProfile":
        """Return the profile that `to_dict` wrote."""
        counts = tuple(int(count) for count in values["counts"])
        moments = Moments.from_dict(values["moments"])
        return cls(Binning.from_dict(values["binning"]), counts, int(values["infs"]), moments)


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
    def empty(cls, binnings: Mapping[str, Binning]) -> "Profile":
        """Return the profile of no rows, which changes nothing when merged."""
        return cls({name: ColumnProfile.empty(binning) for name, binning in binnings.items()}, 0)

    @property
    def binnings(self) -> dict[str, Binning]:
        """The binning of each column."""
        return {name: column.binning for name, column in self.columns.items()}

    def require_same_bins(self, other: "Profile") -> None:
        """Raise `InvalidInput` with the first column on which the two profiles cannot be put together."""
        if only := sorted(self.columns.keys() ^ other.columns.keys()):
            raise InvalidInput(f"column {only[0]!r} is in only one of the two profiles, but it must be in both")
        for name, column in self.columns.items():
            if column.binning != other.columns[name].binning:
                raise InvalidInput(f"the profiles have different bins for column {name!r}, but need the same")

    def merge(self, other: "Profile") -> "Profile":
        """Add two profiles of disjoint rows: any order and grouping gives the same integers."""
        self.require_same_bins(other)
        columns = {name: column.merge(other.columns[name]) for name, column in self.columns.items()}
        return Profile(columns, self.rows + other.rows)

    @staticmethod
    def merge_all(profiles: Iterable["Profile"]) -> "Profile":
        """Add one profile or more; `InvalidInput` for none, since their columns are unknown."""
        parts = list(profiles)
        if not parts:
            raise InvalidInput("merging needs at least one profile")
        return reduce(Profile.merge, parts)

    def to_json(self) -> bytes:
        """Return JSON with sorted keys and no spaces: equal profiles give equal bytes."""
        columns = {name: column.to_dict() for name, column in self.columns.items()}
        values = {"format": FORMAT, "rows": self.rows, "columns": columns}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> "Profile":
        """Read what `to_json` wrote; `InvalidInput` for another format or anything else."""
        try:
            values = json.loads(text)
            found = values["format"]
            if found != FORMAT:
                raise InvalidInput(f"the profile has format {found!r}, but only {FORMAT} can be read")
            columns = {name: ColumnProfile.from_dict(column) for name, column in values["columns"].items()}
            return cls(columns, int(values["rows"]))
        except InvalidInput:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"this is not the JSON of a profile: {error!r}") from error
