"""Names the columns that a training may have diverged by; it looks at values alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...platform.model.columns import LARGEST
from ...platform.model.schema import Schema, table_columns

HUGE = 1e6  # times the median of a column's absolute values
MOST_NAMED = 5


def suspects(schema: Schema, tables: Iterable[pa.Table]) -> str:
    """Numeric columns with infinite values, or huge ones beside the others, in words; nothing where there is none.

    Rows may come in pieces: the middle of a column is then that of the medians of its pieces.
    """
    names = [feature.name for feature in schema.numeric]
    if not schema.target.is_classes:
        names.append(schema.target.name)
    seen = {name: _Seen() for name in names}
    for table in tables:
        for name, raw in table_columns(table, names).items():
            seen[name].add(np.abs(np.asarray(raw, dtype=np.float64)))
    found = [f"{name!r} ({reason})" for name, one in seen.items() if (reason := one.reason())]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"the columns {', '.join(found[:MOST_NAMED])}{more}" if found else ""


class _Seen:
    """What was seen of a column's absolute values."""

    def __init__(self) -> None:
        self._infinite, self._most = 0, 0.0
        self._middles: list[float] = []

    def add(self, values: NDArray[np.float64]) -> None:
        self._infinite += int((values > LARGEST).sum())
        finite = values[values <= LARGEST]
        if finite.size:
            self._middles.append(float(np.median(finite)))
            self._most = max(self._most, float(finite.max()))

    def reason(self) -> str:
        middle = float(np.median(self._middles)) if self._middles else 0.0
        if self._infinite:
            return f"{self._infinite} infinite in 32 bits"
        return f"up to {self._most:.3g}, but {middle:.3g} in the middle" if self._most > HUGE * max(middle, 1.0) else ""
