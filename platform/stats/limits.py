"""Owns what a column may differ by: which statistics judge which kind, and their limits; measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..errors import InvalidInput
from .columns import Kind
from .profiles import ColumnProfile

_ORDERED = {"wasserstein": "wasserstein_normed", "js": "js", "ks": "ks", "psi": "psi"}
_CATEGORIES = {"linf": "linf", "js": "js", "psi": "psi"}
JUDGES: Mapping[Kind, Mapping[str, str]] = {
    "numeric": _ORDERED,
    "timestamp": _ORDERED,
    "categorical": _CATEGORIES,
    "boolean": _CATEGORIES,
    "embedding": {"mmd": "mmd", "js": "js", "psi": "psi"},
}
"""By kind: a limit's name, and the statistic that it bounds."""
FEW_VALUES = 5
"""Evidently's bound between numbers and categories."""


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """What a column must exceed to count as drifted; `InvalidInput` for a limit outside its range.

    A column is judged by the statistic that is furthest above its limit; None takes a statistic out of judgement.
    """

    js: float | None = 0.1
    """Jensen-Shannon distance, base 2, in (0, 1); every kind."""
    wasserstein: float | None = 0.1
    """Wasserstein-1 in standard deviations of the reference, above 0; numbers and times."""
    linf: float | None = 0.1
    """What one category gained or lost, in (0, 1); categories."""
    mmd: float | None = 0.1
    """Maximum mean discrepancy, in (0, 1); embeddings."""
    ks: float | None = None
    """In (0, 1); numbers and times."""
    psi: float | None = None
    """Above 0, 0.2 is the usual "shifted" of credit scoring; every kind."""
    alpha: float = 0.05
    """Bound of the false-discovery rate over columns, in (0, 1)."""
    min_rows: int = 200
    """Rows that the reference and the window each need for a verdict; at least 1."""

    def __post_init__(self) -> None:
        for name in ("js", "linf", "mmd", "ks"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise InvalidInput(f"the {name} limit is {value}, but it must lie between 0 and 1")
        for name in ("wasserstein", "psi"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidInput(f"the {name} limit is {value}, but it must be above 0")
        if not 0 < self.alpha < 1:
            raise InvalidInput(f"alpha is {self.alpha}, but it must lie between 0 and 1")
        if self.min_rows < 1:
            raise InvalidInput(f"min_rows is {self.min_rows}, but it must be at least 1")

    def of(self, column: ColumnProfile) -> dict[str, float]:
        """The limit of each statistic that judges a column, by the kind and the values of its reference.

        Numbers of few values are judged as categories: by its own small spread a rare flag would always have moved.
        """
        kind = column.binning.kind
        is_few = kind == "numeric" and column.distinct.estimate <= FEW_VALUES
        judges = JUDGES["categorical"] if is_few else JUDGES[kind]
        wanted = {statistic: getattr(self, name) for name, statistic in judges.items()}
        return {statistic: limit for statistic, limit in wanted.items() if limit is not None}


LIMIT_NAMES = tuple(field.name for field in fields(DriftLimits) if field.name not in ("alpha", "min_rows"))
