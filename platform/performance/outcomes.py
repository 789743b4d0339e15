"""Owns predictions beside what is known of how they turned out, as arrays; it reads no file and judges nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..labels import label_schema
from ..model.schema import Schema, table_columns
from ..traffic import capture_schema as captured

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PREDICTION = f"{captured.OUTPUT_PREFIX}prediction"
PROBABILITIES = f"{captured.OUTPUT_PREFIX}probabilities"
UNKNOWN_CLASS = -1.0  # a label that is none of the version's classes: the prediction is surely wrong

# N = predictions, K = classes, F = features


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Predictions of one window. Classes are numbered as the version numbers them; NaN where no label came."""

    time_N: Ints
    """Microseconds since 1970."""
    group_N: Ints
    """A hash of the request: rows of one request are alike."""
    target_N: Floats
    predicted_N: Floats
    scores_NK: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    features_NF: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def __len__(self) -> int:
        return len(self.time_N)

    def take(self, chosen: NDArray[Any]) -> Outcomes:
        """Those of a mask, or at these places."""
        arrays = (self.time_N, self.group_N, self.target_N, self.predicted_N, self.scores_NK, self.features_NF)
        taken: list[Any] = [array[chosen] if len(array) else array for array in arrays]
        return Outcomes(*taken)

    def labelled(self) -> Outcomes:
        """Those whose label came."""
        return self.take(~np.isnan(self.target_N))

    def in_time_order(self) -> Outcomes:
        """The same, oldest first; rows of one moment stay as they are."""
        return self.take(np.argsort(self.time_N, kind="stable"))

    @classmethod
    def joined(cls, parts: Iterable[Outcomes]) -> Outcomes:
        """Lay parts below each other."""
        found = [part for part in parts if len(part)]
        if not found:
            return EMPTY
        names = ("time_N", "group_N", "target_N", "predicted_N", "scores_NK", "features_NF")
        return cls(*(np.concatenate([getattr(part, name) for part in found]) for name in names))


EMPTY = Outcomes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


def columns_to_read(schema: Schema) -> list[str]:
    """The captured columns that `outcomes_of` needs."""
    base = [captured.REQUEST_ID, captured.ROW, captured.TIME, captured.VARIANT, PREDICTION]
    if schema.target.is_classes:
        return [*base, PROBABILITIES]
    return base + [captured.INPUT_PREFIX + feature.name for feature in schema.features]


def outcomes_of(schema: Schema, rows: pa.Table, group_N: Ints, target_N: Floats) -> Outcomes:
    """Turn captured rows into arrays: scores of a classifier, features of a regression."""
    time_N = rows.column(captured.TIME).cast(pa.int64()).to_numpy()
    if not schema.target.is_classes:
        predicted_N = rows.column(PREDICTION).cast(pa.float64()).to_numpy()
        return Outcomes(time_N, group_N, target_N, predicted_N, features_NF=_features(schema, rows))
    classes = pa.array(schema.target.classes, type=rows.column(PREDICTION).type)
    predicted_N = pc.index_in(rows.column(PREDICTION), value_set=classes).fill_null(-1).to_numpy().astype(np.float64)
    scores = rows.column(PROBABILITIES).combine_chunks()
    flat = scores.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return Outcomes(time_N, group_N, target_N, predicted_N, flat.reshape(-1, len(schema.target.classes)))


def encode_labels(schema: Schema, labels: pa.Table) -> Floats:
    """Class numbers or values of stored labels; UNKNOWN_CLASS, or NaN in a regression, for what is none."""
    target = schema.target
    value_N = labels.column(label_schema.VALUE)
    if not target.is_classes:
        numbers: Floats = value_N.to_numpy().astype(np.float64)
        return numbers
    if isinstance(target.classes[0], str):
        known = pc.index_in(labels.column(label_schema.LABEL), value_set=pa.array(target.classes, pa.string()))
    else:
        known = pc.index_in(value_N, value_set=pa.array([float(found) for found in target.classes], pa.float64()))
    codes: Floats = known.fill_null(int(UNKNOWN_CLASS)).to_numpy().astype(np.float64)
    return codes


def _features(schema: Schema, rows: pa.Table) -> Floats:
    """Numbers as they are; a text as its number in the schema, NaN for one that training never saw."""
    names = [captured.INPUT_PREFIX + feature.name for feature in schema.features]
    columns = []
    for feature, name in zip(schema.features, names, strict=True):
        if feature.kind == "categorical":
            codes = pc.index_in(rows.column(name), value_set=pa.array(feature.categories, pa.string()))
            columns.append(codes.cast(pa.float64()).to_numpy())
        else:
            columns.append(table_columns(rows, [name])[name].astype(np.float64))
    return np.column_stack(columns) if columns else np.zeros((rows.num_rows, 0))
