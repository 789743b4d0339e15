"""Keeps labels: adds a body of them once, and gives them back in the order in which they came."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..data import Store
from ..state.label_batches import LabelBatch, LabelBatches
from . import label_schema as names
from .record import Label

CLOCK_SLACK_S = 3600.0  # by so much the clocks of a replica and of whoever takes labels may differ


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a body of labels."""

    records: int
    stored: int
    """Records that were written; 0 where the same body was the last word on its rows already."""
    batches: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {**asdict(self), "batches": list(self.batches)}


class LabelLog:
    """The labels of all endpoints; nothing in it is changed or taken out."""

    def __init__(self, store: Store, batches: LabelBatches) -> None:
        self._store, self._batches = store, batches

    def add(self, endpoint: str, labels: Sequence[Label], by: str, now_s: float | None = None) -> Added:
        """Store labels, the later of two for one row being the one that counts; `by` says who sent them.

        The same again changes nothing, unless another record of one of its rows came in between.
        """
        stored, numbers, now_s = 0, [], time.time() if now_s is None else now_s
        for first in range(0, len(labels), names.MOST_IN_BATCH):
            part = labels[first : first + names.MOST_IN_BATCH]
            batch, is_new = self._add_batch(endpoint, part, by, now_s)
            numbers.append(batch.id)
            stored += len(part) if is_new else 0
        return Added(len(labels), stored, tuple(numbers))

    def records(self, endpoint: str, since_s: float) -> Iterator[pa.Table]:
        """Every record that may be of a prediction from a moment on, file by file, in order of sequence."""
        for batch in self._batches.batches(endpoint, since_s=since_s - CLOCK_SLACK_S):
            table = self._read(batch)
            if table is not None:
                yield table

    def num_records(self, endpoint: str, since_s: float) -> int:
        """How many records `records` gives at most."""
        return sum(batch.rows for batch in self._batches.batches(endpoint, since_s=since_s - CLOCK_SLACK_S))

    def history(self, endpoint: str, request_id: str, row: int = 0) -> list[Mapping[str, Any]]:
        """Every record of one predicted row, oldest first; the last one counts."""
        found: list[Mapping[str, Any]] = []
        for table in self.records(endpoint, since_s=0.0):
            is_it = pc.and_(
                pc.equal(table.column(names.REQUEST_ID), request_id), pc.equal(table.column(names.ROW), row)
            )
            found += table.filter(is_it).to_pylist()
        return found

    def _add_batch(self, endpoint: str, labels: Sequence[Label], by: str, now_s: float) -> tuple[LabelBatch, bool]:
        digest = _digest(labels)
        batch, is_new = self._batches.begin(endpoint, digest, len(labels), now_s)
        if not is_new:
            # Its row may be there without its file, where its sender or this process died in between.
            was_written = self._store.exists(names.batch_path(endpoint, batch.id, batch.arrived_s))
            overruled = self._is_overruled(batch, labels)
            if was_written and not overruled:
                return batch, False
            if overruled:
                batch, _ = self._batches.begin(endpoint, digest, len(labels), now_s, anew=True)
        sink = pa.BufferOutputStream()
        pq.write_table(names.to_table(labels, batch.id, batch.arrived_s, by), sink, compression="zstd")
        self._store.write(names.batch_path(endpoint, batch.id, batch.arrived_s), sink.getvalue().to_pybytes())
        return batch, True

    def _is_overruled(self, batch: LabelBatch, labels: Sequence[Label]) -> bool:
        """Whether a later record speaks of one of these rows."""
        keys = {(label.request_id, label.row) for label in labels}
        for later in self._batches.batches(batch.endpoint, after=batch.id):
            table = self._read(later)
            if table is not None:
                rows = zip(table.column(names.REQUEST_ID).to_pylist(), table.column(names.ROW).to_pylist(), strict=True)
                if not keys.isdisjoint(rows):
                    return True
        return False

    def _read(self, batch: LabelBatch) -> pa.Table | None:
        path = self._store.path(names.batch_path(batch.endpoint, batch.id, batch.arrived_s))
        try:
            return pq.read_table(path, filesystem=self._store.filesystem, partitioning=None)
        except FileNotFoundError:
            return None  # numbered and not written: nobody was told that it is there


def _digest(labels: Sequence[Label]) -> str:
    content = [[label.request_id, label.row, label.text, label.value, label.time_us] for label in labels]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
