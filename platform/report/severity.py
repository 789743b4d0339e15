"""Owns which column a reader should see first; it takes verdicts as they are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..stats import ColumnDrift

RANKS = {"drift": 0, "possible": 1, "too_few_rows": 2, "none": 3}
WORDS = {"drift": "drift", "possible": "possible drift", "too_few_rows": "too few rows", "none": "no drift"}


def excess(column: ColumnDrift) -> float:
    """How many times its limit the judged value is; 0 where nothing was judged."""
    if column.value is None or column.limit is None:
        return 0.0
    if column.limit <= 0:
        return math.inf if column.value > column.limit else 0.0
    return column.value / column.limit


def by_severity(columns: Iterable[ColumnDrift]) -> list[ColumnDrift]:
    """Drift first, then possible, too few rows and none; in each what exceeds its limit most, ties by name."""
    return sorted(columns, key=lambda one: (RANKS[one.verdict], -excess(one), one.column))
