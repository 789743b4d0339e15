"""The columns that drift is measured on, named and typed alike in reference rows and in captured ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..stats import Selection, TimeRange
from ..traffic.capture_schema import INPUT_PREFIX, OUTPUT_PREFIX, SHADOW_VARIANT, TIME, VARIANT
from ..traffic.captured import Window
from .schema import Schema, table_columns

PREDICTION = f"{OUTPUT_PREFIX}prediction"


def as_monitored(schema: Schema, rows: pa.Table, prediction: NDArray[np.generic]) -> pa.Table:
    """A table for profiling: the features of `rows`, named as they are captured, and their `prediction` (rows,)."""
    features = {INPUT_PREFIX + feature.name: _as_captured(rows, feature.name) for feature in schema.features}
    return pa.table({**features, PREDICTION: _answer(schema, pa.array(prediction.tolist()))})


def captured_rows(schema: Schema, columns: Iterable[str], window: Window) -> Selection:
    """Which captured rows are held against the reference: those of the window that a client got an answer of."""
    live = pc.field(VARIANT).is_null() | (pc.field(VARIANT) != SHADOW_VARIANT)
    return Selection(
        columns=tuple(columns),
        where=live & pc.field(PREDICTION).is_valid(),
        needs=(VARIANT, PREDICTION),
        times=TimeRange(TIME, window.since_s, window.until_s),
        as_text=frozenset([PREDICTION]) if schema.target.is_classes else frozenset(),
    )


def _as_captured(rows: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """Times are captured as the seconds that the model is given."""
    column = rows.column(name)
    return (
        pa.array(table_columns(rows, [name])[name], from_pandas=True) if pa.types.is_temporal(column.type) else column
    )


def _answer(schema: Schema, values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A class is text whatever its type: the distance between two classes means nothing."""
    return values.cast(pa.string()) if schema.target.is_classes else values
