"""Profiles Parquet files on the cluster: units of row groups in tasks or GPU actors, merged as a tree, resumable."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from pyarrow import fs

from ..platform.data import Store
from ..platform.errors import NotFound, RayloopError
from ..platform.stats import (
    Binning,
    ColumnProfile,
    ParquetFiles,
    Portion,
    Prefer,
    Profile,
    Selection,
    count_portions,
    read_profile,
    write_profile,
)
from ..platform.stats.files import PORTION_BYTES
from .report import say

UNIT_BYTES = 256 * 1024 * 1024
"""Decoded bytes that one task counts; it reads a part of them at a time."""
FAN_IN = 8
"""Profiles that one task merges."""
KEPT_FROM_UNITS = 8
"""From so many units on, each is kept in the store until all are done: a run that was killed goes on."""
PROGRESS_S = 2.0

Unit = tuple[Portion, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What every task needs to know."""

    filesystem: fs.FileSystem
    selection: Selection
    binnings: Mapping[str, Binning]
    store: str | None
    """Where finished units are kept, or None."""
    folder: str


def units_of(portions: Sequence[Portion], unit_bytes: int = UNIT_BYTES) -> list[Unit]:
    """Put portions together; those of one unit have the same columns, so their profiles have the same rows."""
    units: list[Unit] = []
    ordered = sorted(portions, key=lambda portion: portion.columns)  # stable: row groups stay in order
    for _, group in itertools.groupby(ordered, key=lambda portion: portion.columns):
        kept: list[Portion] = []
        size = 0
        for portion in group:
            if kept and size + portion.num_bytes > unit_bytes:
                units.append(tuple(kept))
                kept, size = [], 0
            kept.append(portion)
            size += portion.num_bytes
        units.append(tuple(kept))
    return units


def count_on_cluster(
    files: ParquetFiles,
    selection: Selection,
    binnings: Mapping[str, Binning],
    store: Store | None = None,
    unit_bytes: int = UNIT_BYTES,
) -> Profile:
    """Profile the rows of a selection on the reference's bins, on all of the cluster's processors or GPUs.

    With a store, units that an earlier run of the same files, selection and bins finished are not counted again.
    Raises `InvalidInput` where a file or a column does not fit.
    """
    units = units_of(files.portions(selection, min(unit_bytes, PORTION_BYTES)), unit_bytes)
    if not units:
        return Profile.empty(binnings)
    kept = store if store is not None and len(units) >= KEPT_FROM_UNITS else None
    folder = f"drift/units/{_fingerprint(files, selection, binnings, unit_bytes)}"
    shared = ray.put(Counted(files.filesystem, selection, binnings, None if kept is None else kept.root, folder))
    try:
        refs = _start(shared, units)
        _follow(refs)
        by_columns: dict[tuple[str, ...], list[Any]] = {}
        for ref, unit in zip(refs, units, strict=True):
            by_columns.setdefault(unit[0].columns, []).append(ref)
        parts = ray.get([_merged(refs) for refs in by_columns.values()])
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, RayloopError) else error from None
    columns = joined([read_profile(part) for part in parts])
    if kept is not None:
        kept.filesystem.delete_dir(kept.path(folder))
    ordered = {name: columns[name] for name in binnings}
    return Profile(ordered, next(iter(ordered.values())).count if ordered else 0)


def joined(parts: Sequence[Profile]) -> dict[str, ColumnProfile]:
    """Put profiles of other columns and other rows together, column by column."""
    columns: dict[str, ColumnProfile] = {}
    for part in parts:
        for name, column in part.columns.items():
            # Row groups of other sizes are cut into other sets of columns, so a column may be in several parts.
            columns[name] = columns[name].merge(column) if name in columns else column
    return columns


def _start(shared: Any, units: Sequence[Unit]) -> list[Any]:
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if not gpus:
        count = ray.remote(num_cpus=1, max_retries=3)(count_unit)
        return [count.remote(shared, unit, number) for number, unit in enumerate(units)]
    # Actors, since a CUDA context costs seconds and hundreds of MiB.
    actor = ray.remote(num_cpus=1, num_gpus=1, max_restarts=3, max_task_retries=3)(GpuCounter)
    actors = [actor.remote(shared) for _ in range(min(gpus, len(units)))]
    return [actors[number % len(actors)].count.remote(unit, number) for number, unit in enumerate(units)]


def _follow(refs: Sequence[Any]) -> None:
    """Wait for all, saying now and then how many are done."""
    waiting, said_s = list(refs), time.monotonic()
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=1, timeout=PROGRESS_S, fetch_local=False)
        if waiting and time.monotonic() - said_s >= PROGRESS_S:
            said_s = time.monotonic()
            finished = len(refs) - len(waiting)
            say(f"profiled {finished} of {len(refs)} units, {finished / len(refs):.0%}")


def _merged(refs: Sequence[Any]) -> Any:
    merge = ray.remote(num_cpus=0.5, max_retries=3)(_merge)
    level = list(refs)
    while len(level) > 1:
        level = [merge.remote(*level[first : first + FAN_IN]) for first in range(0, len(level), FAN_IN)]
    return level[0]


def _merge(*profiles: bytes) -> bytes:
    return write_profile(Profile.merge_all([read_profile(profile) for profile in profiles]))


def count_unit(counted: Counted, unit: Unit, number: int, prefer: Prefer = "cpu") -> bytes:
    """Count one unit on one processor, or take what an earlier run kept of it."""
    store = None if counted.store is None else Store(counted.store)
    name = f"{counted.folder}/{number}.parquet"
    if store is not None:
        try:
            return store.read(name)
        except NotFound:
            pass
    paths = list(dict.fromkeys(portion.path for portion in unit))
    binnings = {column: counted.binnings[column] for column in counted.selection.counted(unit[0])}
    files = ParquetFiles(counted.filesystem, paths)
    content = write_profile(count_portions(files, unit, counted.selection, binnings, threads=1, prefer=prefer))
    if store is not None:
        store.write(name, content)
    return content


class GpuCounter:
    """Counts units on one GPU; it lives as long as the job."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def count(self, unit: Unit, number: int) -> bytes:
        """Count one unit."""
        return count_unit(self._counted, unit, number, "auto")


def _fingerprint(files: ParquetFiles, selection: Selection, binnings: Mapping[str, Binning], unit_bytes: int) -> str:
    """What makes two runs the same: the files as they are now, the selection, the bins, the cut into units."""
    infos = files.filesystem.get_file_info(list(files.paths))
    states = [(info.path, info.size, info.mtime_ns) for info in infos]
    bins = {name: binning.to_dict() for name, binning in binnings.items()}
    said = json.dumps([states, selection.describe(), bins, unit_bytes], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]
