"""Owns the shape of stored labels: names, types and folders; it reads and writes nothing.

Labels are a hive-partitioned Parquet set, `labels/endpoint=E/date=YYYY-MM-DD/*.parquet`, by the UTC day on which
they arrived. Files are only ever added; of several records of one request and row the one with the highest
`sequence` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import pyarrow as pa

from .record import Label

ROOT = "labels"
BATCH_STEP = 1_000_000  # sequence = batch * BATCH_STEP + place in it
MOST_IN_BATCH = 100_000

REQUEST_ID = "request_id"
ROW = "row"
LABEL = "label"
VALUE = "value"
TIME = "time"
ARRIVED = "arrived"
SEQUENCE = "sequence"
BY = "by"

_MOMENT = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        pa.field(REQUEST_ID, pa.string(), nullable=False),
        pa.field(ROW, pa.int32(), nullable=False),
        pa.field(LABEL, pa.string(), nullable=False),
        pa.field(VALUE, pa.float64()),
        pa.field(TIME, _MOMENT),
        pa.field(ARRIVED, _MOMENT, nullable=False),
        pa.field(SEQUENCE, pa.int64(), nullable=False),
        pa.field(BY, pa.string(), nullable=False),
    ]
)


def to_table(labels: Sequence[Label], batch: int, arrived_s: float, by: str) -> pa.Table:
    """Lay labels below each other as one batch, which arrived as a whole."""
    num = len(labels)
    times = pa.array([label.time_us for label in labels], pa.int64()).cast(_MOMENT)
    arrived = pa.array([round(arrived_s * 1e6)] * num, pa.int64()).cast(_MOMENT)
    columns = {
        REQUEST_ID: [label.request_id for label in labels],
        ROW: [label.row for label in labels],
        LABEL: [label.text for label in labels],
        VALUE: [label.value for label in labels],
        TIME: times,
        ARRIVED: arrived,
        SEQUENCE: [batch * BATCH_STEP + place for place in range(num)],
        BY: [by] * num,
    }
    return pa.table(columns, schema=SCHEMA)


def batch_path(endpoint: str, batch: int, arrived_s: float) -> str:
    """Name of a batch's file in the store.

    >>> batch_path("digits", 12, 0.0)
    'labels/endpoint=digits/date=1970-01-01/000000000012.parquet'
    """
    day = datetime.fromtimestamp(arrived_s, UTC).date().isoformat()
    return f"{ROOT}/endpoint={quote(endpoint, safe='')}/date={day}/{batch:012d}.parquet"
