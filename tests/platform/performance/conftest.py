"""Captured predictions as a replica writes them, labels as somebody sends them, and the real sets where present."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.data import Store
from rayloop.platform.labels import Label, LabelLog
from rayloop.platform.model.schema import Feature, Schema, Target
from rayloop.platform.performance.join import Source
from rayloop.platform.performance.outcomes import Outcomes
from rayloop.platform.state import Database, LabelBatches
from rayloop.platform.traffic.capture_schema import arrow_schema, partition_path

NOON_S = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
NAME = "toy"
DATA = Path(__file__).parents[3].parent / "shared" / "data"

CLASSES = Schema((Feature("a", "numeric", "FP64"),), Target("y", "INT64", (0, 1)))
NUMBERS = Schema(
    (Feature("a", "numeric", "FP64"), Feature("city", "categorical", "BYTES", categories=("Bonn", "Kiel"))),
    Target("y", "FP64"),
)


@dataclass(frozen=True)
class World:
    """A store with captured predictions, and the log of labels beside it."""

    store: Store
    log: LabelLog

    def source(self, schema: Schema = CLASSES, versions: Sequence[int] = (1,)) -> Source:
        return Source(self.store.filesystem, self.store.path(""), NAME, dict.fromkeys(versions, schema))

    def capture(
        self,
        at_s: Sequence[float],
        predictions: Sequence[Any],
        ids: Sequence[str],
        *,
        version: int = 1,
        schema: Schema = CLASSES,
        rows: Sequence[int] | None = None,
        variant: str = "split",
        name: str = "one",
        inputs: dict[str, Sequence[Any]] | None = None,
    ) -> None:
        """Write one file; a None prediction is a request that failed."""
        fields = arrow_schema(schema.signature())
        num = len(ids)
        columns: dict[str, Any] = {field: pa.nulls(num, fields.field(field).type) for field in fields.names}
        columns["request_id"] = list(ids)
        columns["row"] = pa.array(rows if rows is not None else [0] * num, pa.int32())
        times = pa.array([round(at * 1e6) for at in at_s], pa.int64())
        columns["time"] = times.cast(pa.timestamp("us", tz="UTC"))
        columns["variant"] = [variant] * num
        columns["latency_ms"] = [1.0] * num
        columns["status"] = pa.array([500 if found is None else 200 for found in predictions], pa.int32())
        columns["output.prediction"] = pa.array(predictions, fields.field("output.prediction").type)
        if schema.target.is_classes:
            sure = np.zeros((num, len(schema.target.classes)), np.float32)
            for place, found in enumerate(predictions):
                if found is not None:
                    sure[place] = 0.2 / (len(schema.target.classes) - 1)
                    sure[place, schema.target.classes.index(found)] = 0.8
            columns["output.probabilities"] = pa.FixedSizeListArray.from_arrays(pa.array(sure.ravel()), sure.shape[1])
        for column, values in (inputs or {}).items():
            columns[f"input.{column}"] = pa.array(values, fields.field(f"input.{column}").type)
        day = datetime.fromtimestamp(at_s[0], UTC).date()
        path = Path(self.store.path("")) / "capture" / partition_path(NAME, version, day) / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, schema=fields), path)

    def label(self, ids: Sequence[str], values: Sequence[Any], arrived_s: float, rows: Sequence[int] = ()) -> None:
        """Add labels that arrive at a moment."""
        places = rows or [0] * len(ids)
        labels = [
            Label(key, row, str(value), float(value) if isinstance(value, int | float) else None)
            for key, row, value in zip(ids, places, values, strict=True)
        ]
        self.log.add(NAME, labels, "ci", arrived_s)


@pytest.fixture
def world(store: Store, database: Database) -> World:
    return World(store, LabelLog(store, LabelBatches(database)))


def made_outcomes(
    target: Sequence[float], predicted: Sequence[float], group: Sequence[int] | None = None, scores: Any = None
) -> Outcomes:
    """Outcomes of these labels and answers, one request each unless said."""
    num = len(target)
    return Outcomes(
        np.arange(num, dtype=np.int64),
        np.arange(num, dtype=np.int64) if group is None else np.asarray(group, np.int64),
        np.asarray(target, np.float64),
        np.asarray(predicted, np.float64),
        np.zeros((num, 0)) if scores is None else np.asarray(scores, np.float64),
    )


@pytest.fixture
def make_outcomes() -> Callable[..., Outcomes]:
    return made_outcomes


@pytest.fixture
def real() -> Callable[[str], pa.Table]:
    """Reads one of the real sets, or skips."""

    def read(name: str) -> pa.Table:
        path = DATA / f"{name}.parquet"
        if not path.exists():
            pytest.skip(f"{path} is not here")
        return pq.read_table(path)

    return read
