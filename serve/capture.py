"""Owns the log of a version's predictions: a bounded queue and the thread that turns it into Parquet files.

Capture must never slow or fail an answer: what does not fit is dropped, what cannot be written is lost, and
both are counted. All counts are of rows.
"""

from __future__ import annotations

import logging
import threading
import uuid
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ..platform.model.matrix import Matrix
from ..platform.model.signature import NUMPY_DTYPE, Columns, ColumnSpec, Signature
from ..platform.traffic import capture_schema as names
from .protocol.arrival import Arrival

_US_PER_DAY = 86_400_000_000
# An object appears whole or not at all, at its own name, and its folder needs no making.
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
_EPOCH = date(1970, 1, 1)
_HASHES = 1 << 32
# Numbers seldom repeat: with a dictionary for each column a row takes twice as long to write, and a third more room.
_PARQUET: Mapping[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [names.REQUEST_ID, names.VARIANT, names.ERROR],
}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One answered request: `rows` predicted rows, or one row without inputs and outputs if it failed.

    The arrays are kept until they are written, not copied; nobody may change them.
    """

    arrival: Arrival
    latency_ms: float
    status: int
    rows: int
    error: str | None
    inputs: Columns | None
    outputs: Columns | None


@dataclass(frozen=True, slots=True)
class CaptureCounters:
    """Rows written, dropped for want of room, lost in writing, and waiting."""

    captured: int
    dropped: int
    failed: int
    queue_depth: int


class Capture:
    """The capture of one replica of one version; `offer` is safe from any thread.

    A file is written when `flush_rows` rows wait, or `flush_seconds` after the first of them came. `sample` is
    the share of requests that are kept; the hash of a request's id decides, so that every replica, and a shadow
    too, keeps the same ones.
    """

    def __init__(
        self,
        endpoint: str,
        version: int,
        signature: Signature,
        folder_uri: str,
        flush_rows: int = 20_000,
        flush_seconds: float = 0.5,
        queue_rows: int = 100_000,
        *,
        replica: str | None = None,
        sample: float = 1.0,
    ) -> None:
        self._endpoint, self._version, self._signature = endpoint, version, signature
        self._folder_uri, self._replica = folder_uri, replica or uuid.uuid4().hex[:8]
        self._most_hash = round(sample * _HASHES)
        self._flush_rows, self._flush_s, self._queue_rows = flush_rows, flush_seconds, queue_rows
        self._schema = names.arrow_schema(signature)
        self._changed = threading.Condition()
        self._queue: deque[Record] = deque()
        self._accepted = self._waiting_rows = self._captured = self._dropped = self._failed = 0
        self._num_files = 0
        self._hurried_up_to = 0
        self._is_closed = self._is_failing = False
        self._folder: tuple[fs.FileSystem, str] | None = None
        self._thread = threading.Thread(target=self._run, name=f"capture-{endpoint}--v{version}", daemon=True)
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Queue a record of the sample, or count its rows as dropped; never waits for a file."""
        if self._most_hash < _HASHES and zlib.crc32(record.arrival.request_id.encode()) >= self._most_hash:
            return
        with self._changed:
            if self._is_closed or self._waiting_rows + record.rows > self._queue_rows:
                self._dropped += record.rows
                return
            was_empty, was_few = not self._queue, self._waiting_rows < self._flush_rows
            self._queue.append(record)
            self._waiting_rows += record.rows
            self._accepted += record.rows
            if was_empty or (was_few and self._waiting_rows >= self._flush_rows):
                self._changed.notify_all()

    def counters(self) -> CaptureCounters:
        """Give the counts as of now."""
        with self._changed:
            return CaptureCounters(self._captured, self._dropped, self._failed, self._waiting_rows)

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that waits now is written or lost; False if that took longer than `timeout_s`."""
        with self._changed:
            wanted = self._hurried_up_to = self._accepted
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._captured + self._failed >= wanted, timeout_s)

    def close(self, timeout_s: float = 30.0) -> bool:
        """Take nothing more, write what waits and stop the thread; False if that takes over `timeout_s`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._take():
            num_rows = sum(record.rows for record in batch)
            written = self._write_days(batch)
            with self._changed:
                self._captured += written
                self._failed += num_rows - written
                self._changed.notify_all()

    def _take(self) -> list[Record]:
        """Wait for a file's worth of records; empty when the capture is closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            self._changed.wait_for(self._is_due, self._flush_s)
            batch = list(self._queue)
            self._queue.clear()
            self._waiting_rows = 0
            return batch

    def _is_due(self) -> bool:
        is_hurried = self._captured + self._failed < self._hurried_up_to
        return self._waiting_rows >= self._flush_rows or is_hurried or self._is_closed

    def _write_days(self, batch: Sequence[Record]) -> int:
        """Write one file for each UTC day in the batch; returns the number of rows written."""
        by_day: dict[int, list[Record]] = {}
        for record in batch:
            by_day.setdefault(record.arrival.time_us // _US_PER_DAY, []).append(record)
        num_written = 0
        for day, records in by_day.items():
            try:
                table = to_table(records, self._signature, self._schema)
                self._write(table, _EPOCH + timedelta(days=day))
            except Exception as error:
                if not self._is_failing:  # one line for each time of failure, not for each file
                    _logger.warning("capture of %s--v%d loses rows: %s", self._endpoint, self._version, error)
                self._is_failing = True
            else:
                self._is_failing = False
                num_written += table.num_rows
        return num_written

    def _write(self, table: pa.Table, day: date) -> None:
        # Opening an object store may ask the network: not before the first file, and once.
        files, root = self._folder = self._folder or _open_folder(self._folder_uri)
        folder = f"{root}/{names.partition_path(self._endpoint, self._version, day)}"
        self._num_files += 1
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{self._replica}-{self._num_files}.parquet"
        if files.type_name in _OBJECT_STORES:
            pq.write_table(table, f"{folder}/{name}", filesystem=files, **_PARQUET)
            return
        files.create_dir(folder, recursive=True)
        # Readers skip names that begin with "_" or ".", so nobody sees half a file.
        temporary = f"{folder}/_{name}.tmp"
        try:
            pq.write_table(table, temporary, filesystem=files, **_PARQUET)
            files.move(temporary, f"{folder}/{name}")
        except Exception:
            if files.get_file_info(temporary).type == fs.FileType.File:
                files.delete_file(temporary)
            raise


def to_table(records: Sequence[Record], signature: Signature, schema: pa.Schema) -> pa.Table:
    """Lay the rows of the records below each other, column by column."""
    rows_of = np.array([record.rows for record in records], dtype=np.int64)
    arrivals = [record.arrival for record in records]
    starts = np.cumsum(rows_of) - rows_of
    per_request = {
        names.REQUEST_ID: [arrival.request_id for arrival in arrivals],
        names.TIME: [arrival.time_us for arrival in arrivals],
        names.VARIANT: [arrival.variant for arrival in arrivals],
        names.PROPENSITY: [arrival.propensity for arrival in arrivals],
        names.BUCKET: [arrival.bucket for arrival in arrivals],
        names.LATENCY_MS: [record.latency_ms for record in records],
        names.STATUS: [record.status for record in records],
        names.ERROR: [record.error for record in records],
        names.REVISION: [arrival.revision for arrival in arrivals],
    }
    request_of_row = pa.array(np.repeat(np.arange(len(records)), rows_of))
    arrays = {
        name: pa.array(values, type=schema.field(name).type).take(request_of_row)
        for name, values in per_request.items()
    }
    arrays[names.ROW] = pa.array((np.arange(rows_of.sum()) - np.repeat(starts, rows_of)).astype(np.int32))
    is_null = np.repeat([record.outputs is None for record in records], rows_of)
    inputs = _joined([record.inputs for record in records], signature.inputs)
    outputs = _joined([record.outputs for record in records], signature.outputs)
    for column in signature.inputs:
        arrays[names.INPUT_PREFIX + column.name] = _to_arrow(column, inputs[column.name], is_null)
    for column in signature.outputs:
        arrays[names.OUTPUT_PREFIX + column.name] = _to_arrow(column, outputs[column.name], is_null)
    return pa.table([arrays[name] for name in schema.names], schema=schema)


def _joined(parts: Sequence[Columns | None], columns: Sequence[ColumnSpec]) -> Columns:
    """Lay the rows of all records below each other; a failed record gives one blank row."""
    matrices = [part for part in parts if isinstance(part, Matrix)]
    if matrices and len(matrices) == sum(part is not None for part in parts):
        # Thirty columns of two thousand small arrays take 25 ms to join one by one, and 1 ms at once.
        blank_NF = np.zeros((1, len(columns)), matrices[0].values_NF.dtype)
        values_NF = np.concatenate([part.values_NF if isinstance(part, Matrix) else blank_NF for part in parts])
        return Matrix(matrices[0].places, values_NF)
    blanks = {column.name: _blank(column) for column in columns}
    return {
        name: np.concatenate([blank if part is None else part[name] for part in parts])
        for name, blank in blanks.items()
    }


def _blank(column: ColumnSpec) -> np.ndarray:
    shape = (1,) if column.width == 1 else (1, column.width)
    return np.full(shape, "" if column.datatype == "BYTES" else 0, dtype=NUMPY_DTYPE[column.datatype])


def _to_arrow(column: ColumnSpec, values: np.ndarray, is_null: np.ndarray) -> pa.Array:
    """Write one column; a failed record gives one null, or a list of nulls."""
    mask = np.repeat(is_null, column.width) if is_null.any() else None
    flat = np.ascontiguousarray(values).reshape(-1)
    items = pa.array(flat, type=names.ARROW_TYPE[column.datatype], mask=mask, from_pandas=False)
    return items if column.width == 1 else pa.FixedSizeListArray.from_arrays(items, column.width)


def _open_folder(uri: str) -> tuple[fs.FileSystem, str]:
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).absolute())
    files, root = fs.FileSystem.from_uri(uri)
    return files, root.rstrip("/")
