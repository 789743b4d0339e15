"""The columns that drift is measured on, named and typed alike in reference rows and in captured ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..traffic.capture_schema import INPUT_PREFIX, OUTPUT_PREFIX
from .schema import Schema

PREDICTION = f"{OUTPUT_PREFIX}prediction"


def as_monitored(schema: Schema, rows: pa.Table, prediction: NDArray[np.generic]) -> pa.Table:
    """A table for profiling: the features of `rows`, named as they are captured, and their `prediction` (rows,)."""
    features = {INPUT_PREFIX + feature.name: rows.column(feature.name) for feature in schema.features}
    return pa.table({**features, PREDICTION: _answer(schema, pa.array(prediction.tolist()))})


def monitored_capture(schema: Schema, captured: pa.Table) -> pa.Table:
    """The same columns of captured rows; rows of failed requests hold no answer and are left out."""
    answered = captured.filter(captured.column(PREDICTION).is_valid())
    features = {
        INPUT_PREFIX + feature.name: answered.column(INPUT_PREFIX + feature.name) for feature in schema.features
    }
    return pa.table({**features, PREDICTION: _answer(schema, answered.column(PREDICTION))})


def _answer(schema: Schema, values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A class is text whatever its type: the distance between two classes means nothing."""
    return values.cast(pa.string()) if schema.target.is_classes else values
