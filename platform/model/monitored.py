"""The columns that drift is measured on, named and typed alike in reference rows and in captured ones.

What is no single number or category is told by a few numbers: an array or a picture by mean and deviation of its
values, a text by its bytes and the share of its words that training never saw, a wide answer by their mean or count.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..stats import Selection, TimeRange
from ..traffic.capture_schema import INPUT_PREFIX, OUTPUT_PREFIX, SHADOW_VARIANT, TIME, VARIANT
from ..traffic.captured import Window
from .columns import is_list, to_numpy
from .feature import Feature
from .schema import Schema, canonical_json

PREDICTION = f"{OUTPUT_PREFIX}prediction"


def as_monitored(schema: Schema, rows: pa.Table, prediction: NDArray[np.generic]) -> pa.Table:
    """A table for profiling: the features of `rows`, named as they are captured, and their `prediction`."""
    columns = {feature.name: rows.column(feature.name) for feature in schema.features}
    return _monitored(schema, columns, pa.array(prediction.tolist()))


def monitored_capture(schema: Schema, captured: pa.Table) -> pa.Table:
    """The same columns of captured rows; rows of failed requests hold no answer and are left out."""
    answers = captured.column(PREDICTION)
    # A wide column of a failed request is a list of nulls, and no null itself.
    first = pc.list_element(answers, 0) if is_list(answers.type) and len(answers) else answers
    answered = captured.filter(pc.is_valid(first))
    columns = {feature.name: answered.column(INPUT_PREFIX + feature.name) for feature in schema.features}
    return _monitored(schema, columns, answered.column(PREDICTION))


def captured_rows(schema: Schema, columns: Iterable[str], window: Window) -> Selection:
    """Which captured rows are held against the reference: those of the window that a client got an answer of."""
    return Selection(
        columns=tuple(columns),
        where=pc.field(VARIANT).is_null() | (pc.field(VARIANT) != SHADOW_VARIANT),
        needs=(VARIANT,),
        times=TimeRange(TIME, window.since_s, window.until_s),
        reads=(*(INPUT_PREFIX + feature.name for feature in schema.features), PREDICTION),
        transform=partial(monitored_capture, schema),
        transform_key=canonical_json(schema.to_dict()).decode(),
    )


def _monitored(schema: Schema, columns: dict[str, pa.ChunkedArray], answers: pa.ChunkedArray | pa.Array) -> pa.Table:
    found: dict[str, Any] = {}
    for feature in schema.features:
        told = _told(feature, columns[feature.name])
        found |= {INPUT_PREFIX + feature.name + suffix: values for suffix, values in told.items()}
    return pa.table({**found, PREDICTION: _answer(schema, answers)})


def _told(feature: Feature, values: pa.ChunkedArray) -> dict[str, Any]:
    if feature.kind == "array":
        return _spread(to_numpy(values).reshape(len(values), -1).astype(np.float64))
    if feature.kind == "image" and feature.shape:
        from .picture import decode_pictures  # Pillow, which no other kind needs

        pixels = decode_pictures(values.to_numpy(), feature)
        return _spread(pixels.reshape(len(values), -1).astype(np.float64))
    if feature.kind in {"image", "text"}:
        told = {".bytes": pc.binary_length(values)}
        return told | ({".unknown": _unknown(feature, values)} if feature.categories else {})
    if pa.types.is_temporal(values.type):  # captured as the seconds that the model is given
        return {"": pa.array(to_numpy(values), from_pandas=True)}
    return {"": values}


def _spread(values_NW: NDArray[np.float64]) -> dict[str, Any]:
    """Over the finite values of each row; NaN for a row that has none."""
    known_NW = np.isfinite(values_NW)
    counts_N = known_NW.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean_N = np.where(known_NW, values_NW, 0.0).sum(axis=1) / counts_N
        off_NW = np.where(known_NW, values_NW - mean_N[:, None], 0.0)
        std_N = np.sqrt(np.square(off_NW).sum(axis=1) / counts_N)
    return {".mean": pa.array(mean_N), ".std": pa.array(std_N)}


def _unknown(feature: Feature, values: pa.ChunkedArray) -> Any:
    from .vocabulary import unknown_share

    return pa.array([unknown_share(feature, text) for text in values.to_pylist()], pa.float64())


def _answer(schema: Schema, values: pa.ChunkedArray | pa.Array) -> Any:
    """A class is text whatever its type: the distance between two classes means nothing."""
    if schema.target.is_classes:
        return values.cast(pa.string())
    if not is_list(values.type):
        return values
    wide_NW = to_numpy(pa.chunked_array([values]) if isinstance(values, pa.Array) else values)
    answers_NW = wide_NW.reshape(len(values), -1).astype(np.float64)
    return pa.array(answers_NW.sum(axis=1) if schema.target.is_multilabel else answers_NW.mean(axis=1))
