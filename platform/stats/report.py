"""Owns what a drift comparison says, and its form as JSON values; computes and decides nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import InvalidInput
from .columns import Kind

FORMAT = 1

Verdict = Literal["drift", "stable", "too_few_rows"]


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How one column differs; a statistic is None where the column has none."""

    column: str
    kind: Kind
    psi: float | None
    """On coarse groups, special slots included; None without rows."""
    kl: float | None
    """Of the current from the reference, on the same groups."""
    ks: float | None
    """On the fine bins, nulls and NaN left out; None for categories and without values."""
    p_value: float
    """Numeric: of KS and, where a null or NaN occurs, of their share; categorical: of homogeneity."""
    adjusted_p: float
    """The p-value after Benjamini-Hochberg over the columns."""
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The verdict on a window of current rows against the reference, and its reasons column by column."""

    reference_rows: int
    current_rows: int
    columns: tuple[ColumnDrift, ...]
    """By name, in alphabetical order."""
    drifted_share: float
    """Drifted columns among all, in [0, 1]."""
    smallest_ks: float | None
    """The smallest KS that so many rows can show at alpha in one column; None if any side is empty."""
    verdict: Verdict
    reason: str

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the drifted columns."""
        return tuple(column.column for column in self.columns if column.verdict == "drift")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"format": FORMAT, **asdict(self), "columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DriftReport":
        """Read what `to_dict` wrote; `InvalidInput` for another format or other fields."""
        fields = dict(values)
        found = fields.pop("format", None)
        if found != FORMAT:
            raise InvalidInput(f"the drift report has format {found!r}, but only {FORMAT} can be read")
        try:
            columns = tuple(ColumnDrift(**column) for column in fields.pop("columns"))
            return cls(columns=columns, **fields)
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"this is not a drift report: {error!r}") from error
