"""Files are held against files or against a kept profile, and what can't be is one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.drift_files import DriftRequest, count_here, judge_files, keep
from rayloop.platform.data import Store
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.stats import TimeRange, read_profile, write_profile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, shift in (("reference", 0.0), ("current", 1.0)):
        part = tmp_path / name
        part.mkdir()
        for number in range(2):
            at = pa.array((np.arange(1_000) + 1_000 * number) * 10**6, pa.timestamp("us"))
            columns = {"x": random.normal(shift, 1, 1_000), "y": random.normal(size=1_000), "at": at}
            pq.write_table(pa.table(columns), part / f"{number}.parquet")
    return tmp_path


def request(folder: Path, **changes: object) -> DriftRequest:
    given = {"reference": str(folder / "reference"), "current": str(folder / "current"), "columns": ("x", "y")}
    return DriftRequest(**given | changes)  # type: ignore[arg-type]


def test_a_shifted_column_is_found(folder: Path) -> None:
    done = judge_files(request(folder), count_here)
    assert done.report.drifted == ("x",)
    assert (done.reference.rows, done.current.rows) == (2_000, 2_000)


def test_a_kept_profile_is_a_reference(folder: Path) -> None:
    store = Store(str(folder / "store"))
    first = judge_files(request(folder), count_here)
    kept = store.path(f"{keep(store, request(folder), first)['folder']}/reference.profile")
    assert read_profile(Path(kept).read_bytes()) == first.reference
    again = judge_files(request(folder, reference=kept, columns=("y",)), count_here)
    assert [column.column for column in again.report.columns] == ["y"]
    assert again.current.columns["y"].counts.tolist() == first.current.columns["y"].counts.tolist()


def test_a_window_of_time(folder: Path) -> None:
    done = judge_files(request(folder, times=TimeRange("at", 500, 1_500)), count_here)
    assert (done.reference.rows, done.current.rows) == (2_000, 1_000)


def test_limits_from_the_reference_itself_and_the_columns_together(folder: Path) -> None:
    done = judge_files(request(folder, calibrated=True, multivariate=True), count_here)
    limits = {column.column: column.limit for column in done.report.columns}
    assert all(limit is not None and limit != 0.1 for limit in limits.values())
    assert done.report.drifted == ("x",)
    assert done.report.multivariate is not None
    assert done.report.multivariate["verdict"] == "drift"
    kept = folder / "reference.profile"
    kept.write_bytes(write_profile(done.reference))
    with pytest.raises(InvalidInput, match="is a profile, which holds no rows: calibration needs the Parquet files"):
        judge_files(request(folder, reference=str(kept), calibrated=True), count_here)


def test_a_small_reference_is_judged_as_evidently_does(folder: Path) -> None:
    small = folder / "small.parquet"
    pq.write_table(pq.read_table(folder / "reference" / "0.parquet").slice(0, 300), small)
    done = judge_files(request(folder, reference=str(small), compat="evidently"), count_here)
    judged = {column.column: (column.judged, column.verdict) for column in done.report.columns}
    assert judged == {"x": ("ks_p", "drift"), "y": ("ks_p", "none")}


def test_a_request_survives_the_command_line(folder: Path) -> None:
    asked = request(folder, times=TimeRange("at", 0.5, 2.5), compat="evidently")
    assert DriftRequest.from_json(asked.to_json()) == asked
    assert DriftRequest.from_json(request(folder).to_json()) == request(folder)


def test_a_column_that_is_gone_new_or_of_another_type_is_an_anomaly(folder: Path) -> None:
    other = folder / "other.parquet"
    at = pa.array([0] * 500, pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"x": ["a"] * 500, "z": [1.0] * 500, "at": at}), other)
    done = judge_files(request(folder, current=str(other), columns=()), count_here)
    codes = {(found["code"], found["column"]) for found in done.report.anomalies}
    assert ("SCHEMA_MISSING_COLUMN", "y") in codes
    assert ("SCHEMA_NEW_COLUMN", "z") in codes
    assert ("TYPE_CHANGED", "x") in codes
    assert ("TIME_ZONE_CHANGED", "at") in codes
    assert done.report.columns == ()


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"no such file: .*nothing"):
        judge_files(request(folder, current=str(folder / "nothing")), count_here)
    with pytest.raises(NotFound, match=r"cannot read .*none.profile: no such file"):
        judge_files(request(folder, reference=str(folder / "none.profile")), count_here)
    with pytest.raises(InvalidInput, match="has no column named 'z'"):
        judge_files(request(folder, columns=("z",)), count_here)
    pq.write_table(pa.table({"raw": [b"1"]}), folder / "raw.parquet")
    with pytest.raises(InvalidInput, match="has no column that can be profiled"):
        judge_files(request(folder, reference=str(folder / "raw.parquet"), columns=()), count_here)
