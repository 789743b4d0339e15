"""Joins captured predictions to their labels by request and row, window by window, in bounded memory.

Labels are taken in parts by a hash of their request; for each part the captured files are read once, in batches, and a
window keeps a sample of its predictions. Counts are of all predictions, whatever is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..labels import LabelLog, label_schema
from ..model.schema import Schema
from ..traffic import capture_schema as names
from ..traffic.captured import Window, capture_files, is_live
from .maturity import Delays
from .outcomes import PREDICTION, UNKNOWN_CLASS, Outcomes, columns_to_read, encode_labels, outcomes_of
from .windows import Grid

LABELS_AT_ONCE = 1_000_000  # with as many predictions kept about 0.5 GB
MOST_KEPT = 2_000_000  # predictions over all windows
BATCH_ROWS = 65_536

Hashes = NDArray[np.uint64]
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True, eq=False)
class Joined:
    """What is known of one window; `kept` is `share` of its predictions, chosen by request, all where it is 1."""

    predictions: int = 0
    labelled: int = 0
    unknown_labels: int = 0
    """Labels that are none of the version's classes, or no number in a regression."""
    delays: Delays = field(default_factory=Delays.none)
    kept: Outcomes = field(default_factory=lambda: Outcomes.joined([]))
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Whose predictions are joined: an endpoint's versions, each with its schema, in a store."""

    filesystem: Any
    root: str
    endpoint: str
    schemas: Mapping[int, Schema]


def join_labels(
    source: Source,
    log: LabelLog,
    grid: Grid,
    numbers: set[int],
    now_s: float,
    *,
    labels_at_once: int = LABELS_AT_ONCE,
    most_kept: int = MOST_KEPT,
) -> dict[int, Joined]:
    """Join the predictions of the grid's windows of these numbers to all labels that have come until now."""
    samples = {number: _Sample(max(most_kept // max(len(numbers), 1), 1)) for number in numbers}
    if not numbers:
        return {}
    spans = _spans(grid, numbers)
    since_s = spans[0].since_s  # a label comes after its prediction
    parts = max(1, -(-log.num_records(source.endpoint, since_s) // labels_at_once))
    for part in range(parts):
        labels = _Labels.read(log, source.endpoint, since_s, part, parts)
        for version, schema in source.schemas.items():
            codes_L = encode_labels(schema, labels.table)
            for rows in _captured(source, version, schema, spans):
                request_N = hash_requests(rows.column(names.REQUEST_ID))
                number_N = grid.numbers_of(rows.column(names.TIME).cast(pa.int64()).to_numpy())
                mine_N = (request_N % np.uint64(parts) == part) & np.isin(number_N, list(numbers))
                if not mine_N.any():
                    continue
                chosen = rows.filter(pa.array(mine_N))
                _add(samples, schema, labels, codes_L, chosen, request_N[mine_N], number_N[mine_N], now_s)
    return {number: sample.joined() for number, sample in samples.items()}


def hash_requests(ids: pa.ChunkedArray) -> Hashes:
    """A 64-bit hash of each request id, the same everywhere and always."""
    hashed: Hashes = pd.util.hash_array(ids.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    return hashed


def _add(
    samples: Mapping[int, _Sample],
    schema: Schema,
    labels: _Labels,
    codes_L: NDArray[np.float64],
    rows: pa.Table,
    request_N: Hashes,
    number_N: NDArray[np.int64],
    now_s: float,
) -> None:
    place_N, arrived_N = labels.find(rows, request_N)
    found_N = place_N >= 0
    target_N = np.full(len(place_N), np.nan)
    target_N[found_N] = codes_L[place_N[found_N]]
    outcomes = outcomes_of(schema, rows, request_N.view(np.int64), target_N)
    age_s_N = now_s - outcomes.time_N / 1e6
    delay_s_N = np.where(found_N, (arrived_N - outcomes.time_N) / 1e6, np.nan)
    is_unknown_N = found_N & (np.isnan(target_N) | (target_N == UNKNOWN_CLASS))
    for number in np.unique(number_N):
        here_N = number_N == number
        sample = samples[int(number)]
        sample.predictions += int(here_N.sum())
        sample.labelled += int((here_N & found_N).sum())
        sample.unknown_labels += int((here_N & is_unknown_N).sum())
        sample.delays += Delays.count(delay_s_N[here_N], age_s_N[here_N])
        sample.keep(outcomes.take(here_N))


class _Sample:
    """A window's counts, and as many of its predictions as may be kept: those whose request has a low hash."""

    def __init__(self, most: int) -> None:
        self.predictions = self.labelled = self.unknown_labels = 0
        self.delays = Delays.none()
        self._most, self._halvings, self._num = most, 0, 0
        self._parts: list[Outcomes] = []

    def keep(self, outcomes: Outcomes) -> None:
        kept = outcomes.take(self._is_in(outcomes))
        self._parts.append(kept)
        self._num += len(kept)
        while self._num > self._most and self._halvings < 60:
            self._halvings += 1
            self._parts = [part.take(self._is_in(part)) for part in self._parts]
            self._num = sum(len(part) for part in self._parts)

    def joined(self) -> Joined:
        kept = Outcomes.joined(self._parts).in_time_order()
        share = 0.5**self._halvings
        return Joined(self.predictions, self.labelled, self.unknown_labels, self.delays, kept, share)

    def _is_in(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        # The upper bits, mixed: the lower ones part the labels.
        mixed_N = outcomes.group_N.view(np.uint64) * _ODD
        found: NDArray[np.bool_] = mixed_N <= np.uint64(2 ** (64 - self._halvings) - 1)
        return found


class _Labels:
    """The last label of each request and row of one part, found by hash and held against the id itself."""

    def __init__(self, table: pa.Table, first_arrived_L: NDArray[np.int64]) -> None:
        self.table, self._first_arrived_L = table, first_arrived_L
        self._hash_L = _row_hashes(hash_requests(table.column(names.REQUEST_ID)), table.column(names.ROW))
        self._order_L = np.argsort(self._hash_L)
        self._hash_L = self._hash_L[self._order_L]

    @classmethod
    def read(cls, log: LabelLog, endpoint: str, since_s: float, part: int, parts: int) -> _Labels:
        """Read one part; of each row the last record counts, and the first one says when a label came."""
        tables = (
            table.filter(pa.array(hash_requests(table.column(names.REQUEST_ID)) % np.uint64(parts) == part))
            for table in log.records(endpoint, since_s)
        )
        found = pa.concat_tables([label_schema.SCHEMA.empty_table(), *tables]).combine_chunks()
        frame = pd.DataFrame(
            {
                "key": _row_hashes(hash_requests(found.column(names.REQUEST_ID)), found.column(names.ROW)),
                "arrived": found.column(label_schema.ARRIVED).cast(pa.int64()).to_numpy(),
                "sequence": found.column(label_schema.SEQUENCE).to_numpy(),
            }
        ).sort_values("sequence")
        first = frame.groupby("key")["arrived"].min()
        last = frame.drop_duplicates("key", keep="last")
        return cls(found.take(pa.array(last.index.to_numpy())), first.loc[last["key"]].to_numpy())

    def find(self, rows: pa.Table, request_N: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each captured row's label is, -1 where there is none, and when its first one came."""
        num = rows.num_rows
        if not len(self._hash_L):
            return np.full(num, -1), np.zeros(num, np.int64)
        hash_N = _row_hashes(request_N, rows.column(names.ROW))
        near_N = np.minimum(np.searchsorted(self._hash_L, hash_N), len(self._hash_L) - 1)
        place_N = self._order_L[near_N]
        same = pc.equal(self.table.column(names.REQUEST_ID).take(pa.array(place_N)), rows.column(names.REQUEST_ID))
        is_it_N = (self._hash_L[near_N] == hash_N) & same.to_numpy()
        return np.where(is_it_N, place_N, -1), self._first_arrived_L[place_N]


def _row_hashes(request_N: Hashes, rows: pa.ChunkedArray) -> Hashes:
    hashed: Hashes = request_N ^ (rows.to_numpy().astype(np.uint64) * _ODD)
    return hashed


def _spans(grid: Grid, numbers: set[int]) -> list[Window]:
    """Windows side by side as one span, in order of time: what lies between two spans is not read."""
    spans: list[Window] = []
    for number in sorted(numbers):
        window = grid.window(number)
        if number - 1 in numbers:
            window = Window(spans.pop().since_s, window.until_s)
        spans.append(window)
    return spans


def _captured(source: Source, version: int, schema: Schema, spans: Sequence[Window]) -> Iterator[pa.Table]:
    """Answered rows of clients from the days of the spans, a batch at a time."""
    columns = columns_to_read(schema)
    found = [capture_files(source.filesystem, source.root, source.endpoint, version, span) for span in spans]
    for path in sorted({path for paths in found for path in paths}):
        with pq.ParquetFile(path, filesystem=source.filesystem) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                rows = pa.Table.from_batches([batch])
                rows = rows.filter(pc.and_(is_live(rows.column(names.VARIANT)), rows.column(PREDICTION).is_valid()))
                if rows.num_rows:
                    yield rows
