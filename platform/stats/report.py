"""Owns what a drift comparison says, and its form as JSON values; computes and decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ..errors import InvalidInput
from .columns import Kind

FORMAT = 2

Verdict = Literal["drift", "possible", "none", "too_few_rows"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def _without_nan(value: Any) -> Any:
    """The same plain values, but None where a number is not finite: JSON has no NaN, and a reader no use for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_nan(inner) for inner in value]
    return value


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How one column differs; a statistic that the column has not, or that is not finite, is None."""

    column: str
    kind: Kind
    statistics: Mapping[str, float | None]
    """By name; docs/drift.md has the formula, the source and the range of each."""
    judged: str | None
    """The statistic that decided; None where none could be had."""
    value: float | None
    """What it is."""
    limit: float | None
    """What it may be."""
    p_value: float
    """Chance that two samples of one distribution differ so much, in [0, 1]; 1 where nothing can be tested."""
    adjusted_p: float
    """The p-value after Benjamini-Hochberg over the columns, in [0, 1]."""
    smallest_effect: float | None
    """The smallest value of the judged statistic that so many rows can tell from chance; None without rows."""
    verdict: Verdict
    reason: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InvalidInput(f"a verdict is {self.verdict!r}, but it must be one of {', '.join(VERDICTS)}")
        if not 0 <= self.p_value <= 1 or not 0 <= self.adjusted_p <= 1:
            raise InvalidInput(f"p-values are {self.p_value} and {self.adjusted_p}, but must lie in [0, 1]")
        for name in ("statistics", "value", "limit", "smallest_effect"):
            object.__setattr__(self, name, _without_nan(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The verdict on a window of current rows against the reference, and its reasons column by column."""

    reference_rows: int
    current_rows: int
    columns: tuple[ColumnDrift, ...]
    """By name, in alphabetical order."""
    drifted_share: float
    """Drifted columns among all, in [0, 1]."""
    verdict: Verdict
    reason: str
    alpha: float
    """Bound of the false-discovery rate over columns."""
    compat: str | None = None
    """The peer whose rules gave the verdicts; None for ours."""
    anomalies: tuple[Mapping[str, Any], ...] = ()
    """What else is wrong with the window's data."""
    multivariate: Mapping[str, Any] | None = None
    """What the second stage found on a sample of rows; None where it was not run."""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InvalidInput(f"a verdict is {self.verdict!r}, but it must be one of {', '.join(VERDICTS)}")
        if not 0 <= self.drifted_share <= 1:
            raise InvalidInput(f"the share of drifted columns is {self.drifted_share}, but must lie in [0, 1]")
        object.__setattr__(self, "anomalies", tuple(_without_nan(self.anomalies)))
        object.__setattr__(self, "multivariate", _without_nan(self.multivariate))

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the drifted columns."""
        return tuple(column.column for column in self.columns if column.verdict == "drift")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        columns, anomalies = [asdict(column) for column in self.columns], [dict(one) for one in self.anomalies]
        return {"format": FORMAT, **asdict(self), "columns": columns, "anomalies": anomalies}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftReport:
        """Read what `to_dict` wrote; `InvalidInput` for another format or other fields."""
        fields = dict(values)
        found = fields.pop("format", None)
        if found != FORMAT:
            raise InvalidInput(f"the drift report has format {found!r}, but only {FORMAT} can be read")
        try:
            columns = tuple(ColumnDrift(**column) for column in fields.pop("columns"))
            return cls(columns=columns, anomalies=tuple(fields.pop("anomalies", ())), **fields)
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"this is not a drift report: {error!r}") from error
