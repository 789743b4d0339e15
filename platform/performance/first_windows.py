"""Finds the first windows of a version, which teach the estimator and stand in where no reference was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from ..traffic import capture_schema as names
from ..traffic.captured import ROOT, Window, capture_files, is_live
from .join import Joined

MOST_FIRST = 8
ENOUGH_ROWS = 2_000


def first_capture_s(filesystem: Any, root: str, endpoint: str, version: int) -> float | None:
    """When a version answered its first client, in seconds since 1970; None where it captured nothing."""
    folder = f"{root}/{ROOT}/{names.partition_path(endpoint, version)}"
    if filesystem.get_file_info(folder).type != fs.FileType.Directory:
        return None
    parts = [entry.path.rpartition("/date=")[2] for entry in filesystem.get_file_info(fs.FileSelector(folder))]
    for part in sorted(parts):
        day_s = datetime.combine(date.fromisoformat(part), datetime.min.time(), UTC).timestamp()
        found = [
            _first_in(filesystem, path)
            for path in capture_files(filesystem, root, endpoint, version, Window(day_s, day_s + 86_400))
        ]
        times = [time for time in found if time is not None]
        if times:
            return min(times)
    return None


def choose_first(candidates: Iterable[int], joined: Mapping[int, Joined], min_rows: int) -> list[int]:
    """The first windows until they hold enough labels, in their order; none where all together hold too few."""
    chosen, labelled = [], 0
    for number in sorted(candidates):
        chosen.append(number)
        labelled += joined[number].labelled
        if labelled >= max(ENOUGH_ROWS, min_rows):
            break
    return chosen if labelled >= min_rows else []


def _first_in(filesystem: Any, path: str) -> float | None:
    table = pq.read_table(path, columns=[names.TIME, names.VARIANT], filesystem=filesystem, partitioning=None)
    times = table.filter(is_live(table.column(names.VARIANT))).column(names.TIME)
    first = pc.min(times.cast(pa.int64())).as_py()
    return None if first is None else first / 1e6
