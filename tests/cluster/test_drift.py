"""Drift of files on a live cluster: the same counts as on one machine, also after its job was killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.stats import profile_files, read_profile

from .conftest import Live, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.live]

ROWS, COLUMNS, GROUP_ROWS = 3_000_000, 24, 250_000


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    paths = folder / "reference.parquet", folder / "window.parquet"
    for path, rows, shift in ((paths[0], 100_000, 0.0), (paths[1], ROWS, 0.5)):
        names = [f"c{place}" for place in range(COLUMNS)]
        with pq.ParquetWriter(path, pa.schema([(name, pa.float32()) for name in names]), use_dictionary=False) as file:
            for start in range(0, rows, GROUP_ROWS):
                num = min(GROUP_ROWS, rows - start)
                drawn = {name: random.standard_normal(num, dtype=np.float32) for name in names}
                drawn["c0"] += np.float32(shift)
                file.write_table(pa.table(drawn))
    return paths


def kept_units(live: Live) -> list[Path]:
    return list((live.home / "store" / "drift" / "units").rglob("*.parquet"))


def kill_drivers() -> int:
    """Kill -9 every driver of the job; its command follows it by HTTP and is told."""
    killed = 0
    for process in psutil.process_iter(["cmdline"]):
        if "rayloop.jobs.drift_files" in " ".join(process.info["cmdline"] or []) and process.info["cmdline"][0] != "sh":
            process.send_signal(signal.SIGKILL)
            killed += 1
    return killed


def test_a_killed_job_goes_on_and_counts_what_one_machine_counts(
    live: Live, tables: tuple[Path, Path], tmp_path: Path
) -> None:
    reference, window = map(str, tables)
    arguments = ["drift", "--reference", reference, "--current", window, "--unit-mib", "2"]
    command = [sys.executable, "-m", "rayloop.cli", *arguments]
    first = subprocess.Popen(
        command, cwd=tmp_path, env=dict(live.environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_until(lambda: len(kept_units(live)) >= 3, 120, "three units are done")
    assert kill_drivers() >= 1
    said, _ = first.communicate(timeout=60)
    assert first.returncode != 0, said
    before = {path: path.stat().st_mtime_ns for path in kept_units(live)}
    assert len(before) >= 3
    done = live.run(*arguments, "--json", "report.json", cwd=tmp_path)
    assert "drift" in done
    assert kept_units(live) == []
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["report"]["current_rows"] == ROWS
    verdicts = {column["column"]: column["verdict"] for column in report["report"]["columns"]}
    assert verdicts.pop("c0") == "drift"
    assert set(verdicts.values()) == {"none"}
    folder = max((live.home / "store" / "drift" / "reports").iterdir(), key=os.path.getmtime)
    there = read_profile((folder / "window.profile").read_bytes())
    here = profile_files([window], read_profile((folder / "reference.profile").read_bytes()))
    for name, column in here.columns.items():
        assert there.columns[name].counts.tolist() == column.counts.tolist(), name
        assert there.columns[name].distinct == column.distinct
