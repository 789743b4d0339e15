"""Owns the shape of captured predictions: names, types and folders; it reads and writes nothing.

Capture is a hive-partitioned Parquet set, `endpoint=E/version=V/date=YYYY-MM-DD/*.parquet`. What the path
says is not in the files again: readers add the partition columns, and some refuse a name that comes twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from urllib.parse import quote

import pyarrow as pa

from ..errors import InvalidInput
from ..model.signature import ColumnSpec, Datatype, Signature

VERSION = "version"  # in the path alone
REQUEST_ID = "request_id"
ROW = "row"
TIME = "time"
VARIANT = "variant"
PROPENSITY = "propensity"
BUCKET = "bucket"
LATENCY_MS = "latency_ms"
STATUS = "status"
ERROR = "error"
REVISION = "revision"
INPUT_PREFIX = "input."
OUTPUT_PREFIX = "output."

SHADOW_VARIANT = "shadow"
"""Variant of a copy of a request that another version answered; see `captured.is_live`."""

# Given to a reader, it keeps an endpoint called "7" text and saves the guess over every path.
PARTITION_SCHEMA = pa.schema([("endpoint", pa.string()), (VERSION, pa.int32()), ("date", pa.string())])

ARROW_TYPE: Mapping[Datatype, pa.DataType] = {
    "BOOL": pa.bool_(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    "BYTES": pa.string(),
}

_REQUEST_FIELDS = (
    pa.field(REQUEST_ID, pa.string(), nullable=False),
    pa.field(ROW, pa.int32(), nullable=False),
    pa.field(TIME, pa.timestamp("us", tz="UTC"), nullable=False),
    pa.field(VARIANT, pa.string()),
    pa.field(PROPENSITY, pa.float64()),
    pa.field(BUCKET, pa.int32()),
    pa.field(LATENCY_MS, pa.float64(), nullable=False),
    pa.field(STATUS, pa.int32(), nullable=False),
    pa.field(ERROR, pa.string()),
    pa.field(REVISION, pa.int64()),
)


def arrow_schema(signature: Signature) -> pa.Schema:
    """Give the schema of one file: the request, then `input.<column>` and `output.<column>`.

    A request that failed has nulls for all of these. In a column of width k it is a list of k nulls, since
    pyarrow writes a null in place of such a list but cannot read it again (seen in 25.0).

    >>> from rayloop.platform.model.signature import ColumnSpec, Signature
    >>> signature = Signature((ColumnSpec("age", "FP32"),), (ColumnSpec("probability", "FP32", width=2),))
    >>> arrow_schema(signature).field("output.probability").type
    FixedSizeListType(fixed_size_list<item: float>[2])
    """
    inputs = [_field(INPUT_PREFIX, column) for column in signature.inputs]
    outputs = [_field(OUTPUT_PREFIX, column) for column in signature.outputs]
    return pa.schema([*_REQUEST_FIELDS, *inputs, *outputs])


def _field(prefix: str, column: ColumnSpec) -> pa.Field:
    return pa.field(prefix + column.name, arrow_type(column), nullable=column.width == 1)


def arrow_type(column: ColumnSpec) -> pa.DataType:
    """Give the type of one input or output: a plain one, or a list of `width` of them."""
    plain = ARROW_TYPE[column.datatype]
    return plain if column.width == 1 else pa.list_(plain, column.width)


def partition_path(endpoint: str, version: int | None = None, date: date | None = None) -> str:
    """Give the folder of an endpoint, of one version, or of one UTC day of it, below the capture's root.

    >>> from datetime import date
    >>> partition_path("digits", 3, date(2026, 5, 1))
    'endpoint=digits/version=3/date=2026-05-01'
    """
    if date is not None and version is None:
        raise InvalidInput(f"date {date} was given without a version, whose folder holds it")
    parts = [f"endpoint={quote(endpoint, safe='')}"]
    parts += [f"version={version}"] if version is not None else []
    parts += [f"date={date.isoformat()}"] if date is not None else []
    return "/".join(parts)
