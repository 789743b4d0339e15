"""Owns what an anomaly is: its code, where it is, how much of it, and how bad; it looks at no data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Severity = Literal["error", "warning"]

Code = Literal[
    "NO_ROWS",
    "TOO_FEW_ROWS",
    "SCHEMA_MISSING_COLUMN",
    "SCHEMA_NEW_COLUMN",
    "SCHEMA_DUPLICATE_COLUMN",
    "TYPE_CHANGED",
    "TIME_ZONE_CHANGED",
    "VECTOR_WIDTH_CHANGED",
    "COLUMN_ALL_NULL",
    "COLUMN_CONSTANT",
    "NULLS_ABOVE_REFERENCE",
    "VALUE_NOT_FINITE",
    "VALUE_NEGATIVE",
    "VALUE_OUT_OF_RANGE",
    "VALUE_NOT_INTEGRAL",
    "CATEGORY_UNKNOWN",
    "NOT_UNIQUE",
]
CODES: tuple[Code, ...] = get_args(Code)

_WARNINGS: frozenset[Code] = frozenset(
    {
        "TOO_FEW_ROWS",
        "SCHEMA_NEW_COLUMN",
        "COLUMN_CONSTANT",
        "NULLS_ABOVE_REFERENCE",
        "VALUE_OUT_OF_RANGE",
        "VALUE_NOT_INTEGRAL",
        "CATEGORY_UNKNOWN",
    }
)
"""What may have a sound cause, such as a growing range; the others break whatever reads the column."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One rule that the data breaks."""

    code: Code
    reason: str
    """One sentence with the value and the rule."""
    severity: Severity
    column: str | None = None
    """None where it is of the whole table."""
    share: float | None = None
    """Share of the rows, or of the values, that break the rule; where bins allow no more, at least that."""
    limit: float | None = None
    """Share that may break it."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def make_anomaly(
    code: Code, reason: str, column: str | None = None, share: float | None = None, limit: float | None = None
) -> Anomaly:
    """An anomaly with the severity of its code; one of a rule that allows nothing (limit 0) is an error."""
    is_warning = code in _WARNINGS and limit != 0
    return Anomaly(code, reason, "warning" if is_warning else "error", column, share, limit)


def has_error(anomalies: Iterable[Anomaly]) -> bool:
    """True where one of them is an error."""
    return any(anomaly.severity == "error" for anomaly in anomalies)
