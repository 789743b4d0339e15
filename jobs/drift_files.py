"""The drift job on Parquet files of a caller's: a window beside a reference, on this machine or on the cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import ray

from ..platform.data import Store, parquet_paths
from ..platform.errors import InvalidInput, NotFound
from ..platform.quality import countable_columns, window_anomalies
from ..platform.settings import Settings
from ..platform.stats import (
    Binning,
    ParquetFiles,
    Profile,
    Selection,
    TimeRange,
    calibrate,
    compare,
    count_portions,
    fit_binnings,
    fit_files,
    multivariate_drift,
    profile_table,
    read_profile,
    widened,
)
from ..platform.stats.evidently import SMALL_REFERENCE
from ..platform.stats.fitting import SAMPLE_ROWS
from ..platform.traffic.captured import Window
from ..platform.workspace import Workspace
from .counting import UNIT_BYTES, count_on_cluster
from .drift_report import PROFILE_SUFFIX, Judged, keep_report, with_anomalies
from .report import run_job, say

CHUNKS = 10
MULTIVARIATE_ROWS = 50_000

Count = Callable[[ParquetFiles, Selection, Mapping[str, Binning]], Profile]


@dataclass(frozen=True, slots=True)
class DriftRequest:
    """What is held against what."""

    reference: str
    """Parquet (a file, a folder, a glob, an s3:// URI), or a `.profile` that an earlier run wrote."""
    current: str
    columns: tuple[str, ...] = ()
    """Default all that can be profiled."""
    times: TimeRange | None = None
    """Rows of the window; the reference is taken whole."""
    compat: str | None = None
    calibrated: bool = False
    """True takes each column's limits from ten parts of the reference in place of fixed ones."""
    multivariate: bool = False
    """True looks at the columns together too, on a sample of both sides."""
    unit_mib: int | None = None
    """Decoded MiB that one task of the cluster counts; default 256."""

    @classmethod
    def from_json(cls, text: str) -> DriftRequest:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        times = None if values["times"] is None else TimeRange(**values["times"])
        return cls(**values | {"columns": tuple(values["columns"]), "times": times})

    def to_json(self) -> str:
        """Plain JSON, for the job's command line."""
        return json.dumps(asdict(self))


def judge_files(request: DriftRequest, count: Count) -> Judged:
    """Profile the reference, unless it is a profile already, and the window on its bins; compare.

    Raises InvalidInput or NotFound for files that are missing, unreadable, or do not fit the reference.
    """
    reference = _reference(request, count)
    files = ParquetFiles(*parquet_paths(request.current))
    if request.columns:
        reference = reference.select(request.columns)
    schema = files.schema if not request.columns else pa.schema([f for f in files.schema if f.name in request.columns])
    # What can't be counted is an anomaly with a name, and the other columns are judged all the same.
    kept = reference.select(countable_columns(schema, reference))
    say(f"profiling {files.rows:,} rows of {len(kept.columns)} columns in {len(files.paths)} files")
    current = count(files, Selection(tuple(kept.columns), times=request.times), kept.binnings)
    limits = _calibrated(request, kept) if request.calibrated else None
    report = compare(kept, current, calibrated=limits, compat=request.compat)
    report = with_anomalies(report, window_anomalies(reference, current, schema))
    if request.multivariate:
        report = replace(report, multivariate=_together(request, files, list(kept.columns)))
    return Judged(report, kept, current)


def _rows_of_reference(request: DriftRequest, columns: Sequence[str], rows: int, wanted: str) -> pa.Table:
    if request.reference.endswith(PROFILE_SUFFIX):
        raise InvalidInput(f"{request.reference} is a profile, which holds no rows: {wanted} needs the Parquet files")
    return ParquetFiles(*parquet_paths(request.reference)).sample(columns, rows)


def _calibrated(request: DriftRequest, reference: Profile) -> Mapping[str, Mapping[str, float]]:
    rows = _rows_of_reference(request, list(reference.columns), SAMPLE_ROWS, "calibration")
    length = max(1, rows.num_rows // CHUNKS)
    chunks = [rows.slice(start, length) for start in range(0, length * CHUNKS, length)]
    found = calibrate(reference, [profile_table(chunk, reference.binnings) for chunk in chunks if chunk.num_rows])
    say(f"limits from {found.num_chunks} parts of the reference, {length:,} rows each")
    return found.limits


def _together(request: DriftRequest, files: ParquetFiles, columns: Sequence[str]) -> dict[str, Any]:
    rows = _rows_of_reference(request, columns, MULTIVARIATE_ROWS, "a look at the columns together")
    found = multivariate_drift(rows, files.sample(columns, MULTIVARIATE_ROWS, request.times))
    say(f"the columns together: {found['verdict']}, {found['reason']}")
    return found


def _reference(request: DriftRequest, count: Count) -> Profile:
    if request.reference.endswith(PROFILE_SUFFIX):
        try:
            return read_profile(Path(request.reference).read_bytes())
        except OSError as error:
            raise NotFound(f"cannot read {request.reference}: {(error.strerror or str(error)).lower()}") from None
    files = ParquetFiles(*parquet_paths(request.reference))
    say(f"profiling the reference: {files.rows:,} rows in {len(files.paths)} files")
    if request.compat is not None and files.rows <= SMALL_REFERENCE:
        binnings = fit_binnings(
            files.sample(request.columns or files.schema.names), request.columns or None, exact=True
        )
    else:
        binnings = fit_files(files, columns=request.columns or None)
    if not binnings:
        raise InvalidInput(f"{request.reference} has no column that can be profiled")
    return widened(count(files, Selection(tuple(binnings)), binnings))


def count_here(files: ParquetFiles, selection: Selection, binnings: Mapping[str, Binning]) -> Profile:
    """Count on all cores of this machine, without Ray."""
    return count_portions(files, files.portions(selection), selection, binnings)


def count_there(store: Store, unit_mib: int | None = None) -> Count:
    """Count on the cluster, keeping finished units in the store."""
    unit_bytes = UNIT_BYTES if unit_mib is None else unit_mib * 2**20
    return lambda files, selection, binnings: count_on_cluster(files, selection, binnings, store, unit_bytes)


def keep(store: Store, request: DriftRequest, done: Judged) -> dict[str, Any]:
    """Keep the report, and give back what a person sees of it."""
    title = f"{Path(request.current).name} against {Path(request.reference).name}"
    times = request.times
    window = None if times is None else Window(times.since_s, times.until_s)
    kept = keep_report(store, done, title, window, {"reference": request.reference, "window": request.current})
    shown = {"report": done.report.to_dict(), "distributions": kept.distributions, "pipeline_run": None}
    return {"folder": kept.folder, **shown}


@click.command()
@click.argument("request")
def main(request: str) -> None:
    """Judge the request, given as JSON."""

    def work() -> Mapping[str, Any]:
        began_s = time.monotonic()
        workspace = Workspace(Settings.load())
        ray.init(log_to_driver=False, configure_logging=False)
        asked = DriftRequest.from_json(request)
        done = judge_files(asked, count_there(workspace.store, asked.unit_mib))
        return keep(workspace.store, asked, done) | {"wall_s": round(time.monotonic() - began_s, 2)}

    run_job(work)


if __name__ == "__main__":
    main()
