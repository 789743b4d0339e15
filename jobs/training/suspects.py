"""Names the columns that a training may have diverged by; it looks at values alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...platform.model.columns import LARGEST
from ...platform.model.schema import Schema, table_columns

HUGE = 1e6  # times the median of a column's absolute values
MOST_NAMED = 5


def suspects(schema: Schema, table: pa.Table) -> str:
    """Numeric columns with infinite values, or huge ones beside the others, in words; nothing where there is none."""
    names = [feature.name for feature in schema.numeric]
    if not schema.target.is_classes:
        names.append(schema.target.name)
    found = []
    for name, raw in table_columns(table, names).items():
        values = np.abs(np.asarray(raw, dtype=np.float64))
        infinite = int((values > LARGEST).sum())
        finite = values[values <= LARGEST]
        middle = float(np.median(finite)) if finite.size else 0.0
        most = float(finite.max()) if finite.size else 0.0
        if infinite:
            found.append(f"{name!r} ({infinite} infinite in 32 bits)")
        elif most > HUGE * max(middle, 1.0):
            found.append(f"{name!r} (up to {most:.3g}, but {middle:.3g} in the middle)")
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"the columns {', '.join(found[:MOST_NAMED])}{more}" if found else ""
