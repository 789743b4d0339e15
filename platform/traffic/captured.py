"""Finds and counts captured predictions in a store; the shape of their files is capture_schema's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from ..model.signature import Signature
from . import capture_schema as names

ROOT = "capture"

_ANSWER_COLUMNS = (names.REQUEST_ID, names.ROW, names.TIME, names.LATENCY_MS, names.STATUS)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, in seconds since 1970: `since_s` belongs to it, `until_s` does not."""

    since_s: float
    until_s: float

    def days(self) -> Iterator[datetime]:
        """The UTC days that it touches."""
        day = datetime.fromtimestamp(self.since_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        while day.timestamp() < self.until_s:
            yield day
            day += timedelta(days=1)

    def holds(self, times: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which times lie in it."""
        kind = pa.timestamp("us", tz="UTC")
        since = pa.scalar(round(self.since_s * 1e6), pa.int64()).cast(kind)
        until = pa.scalar(round(self.until_s * 1e6), pa.int64()).cast(kind)
        return pc.and_(pc.greater_equal(times, since), pc.less(times, until))


def capture_files(filesystem: Any, root: str, endpoint: str, version: int, window: Window) -> list[str]:
    """Paths of the files that may hold rows of the window, by name; `root` is the file system's own path."""
    found: list[str] = []
    for day in window.days():
        folder = f"{root}/{ROOT}/{names.partition_path(endpoint, version, day.date())}"
        if filesystem.get_file_info(folder).type == fs.FileType.Directory:
            entries = filesystem.get_file_info(fs.FileSelector(folder))
            found += [entry.path for entry in entries if entry.path.endswith(".parquet") and not _is_hidden(entry.path)]
    return sorted(found)


def captured_versions(filesystem: Any, root: str, endpoint: str) -> list[int]:
    """Versions of an endpoint that captured anything, in their order."""
    folder = f"{root}/{ROOT}/{names.partition_path(endpoint)}"
    if filesystem.get_file_info(folder).type != fs.FileType.Directory:
        return []
    parts = [entry.path.rpartition("/version=")[2] for entry in filesystem.get_file_info(fs.FileSelector(folder))]
    return sorted(int(part) for part in parts if part.isdecimal())


def is_live(variants: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which rows answered a client. A shadow's rows did not: whoever counts or judges traffic leaves them out."""
    return pc.fill_null(pc.not_equal(variants, names.SHADOW_VARIANT), True)


def count_answers(filesystem: Any, root: str, endpoint: str, version: int, window: Window) -> tuple[int, int]:
    """Requests of clients that a version answered in the window, and how many of them with a status of 500 or more."""
    answers = errors = 0
    for path in capture_files(filesystem, root, endpoint, version, window):
        columns = [names.TIME, names.STATUS, names.ROW, names.VARIANT]
        table = pq.read_table(path, columns=columns, filesystem=filesystem, partitioning=None)
        is_first = pc.and_(is_live(table.column(names.VARIANT)), pc.equal(table.column(names.ROW), 0))
        kept = table.filter(pc.and_(window.holds(table.column(names.TIME)), is_first))
        answers += kept.num_rows
        errors += pc.sum(pc.greater_equal(kept.column(names.STATUS), 500)).as_py() or 0
    return answers, errors


def read_answers(
    filesystem: Any, root: str, endpoint: str, versions: Sequence[int], window: Window, *, shadow: bool
) -> pa.Table:
    """Rows of the window with request, latency, status, outputs and version: a shadow's, or those that clients got.

    Outputs that the versions do not share under one type are left out.
    """
    tables = []
    for version in versions:
        for path in capture_files(filesystem, root, endpoint, version, window):
            with pq.ParquetFile(path, filesystem=filesystem) as file:
                outputs = [name for name in file.schema_arrow.names if name.startswith(names.OUTPUT_PREFIX)]
                table = file.read(columns=[*_ANSWER_COLUMNS, names.VARIANT, *outputs], use_threads=False)
            live = is_live(table.column(names.VARIANT))
            kept = table.filter(pc.and_(window.holds(table.column(names.TIME)), pc.invert(live) if shadow else live))
            numbers = pa.array([version] * kept.num_rows, pa.int32())
            tables.append(kept.drop_columns([names.VARIANT]).append_column(names.VERSION, numbers))
    if not tables:
        nothing = names.arrow_schema(Signature((), ())).empty_table().select(_ANSWER_COLUMNS)
        return nothing.append_column(names.VERSION, pa.array([], pa.int32()))
    fields = [set(table.schema) for table in tables]
    shared = [field.name for field in tables[0].schema if all(field in found for found in fields)]
    return pa.concat_tables([table.select(shared) for table in tables])


def _is_hidden(path: str) -> bool:
    return path.rpartition("/")[2][0] in "._"
