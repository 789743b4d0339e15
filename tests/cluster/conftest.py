"""One live cluster for all tests of this folder, on ports of its own; nothing of it outlives the session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.cluster import LocalCluster, free_port
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace

TOY_PROJECT = """\
name: {name}
data: {{source: data, target: label, key: id}}
task: {{use: "{use}", params: {params}}}
train: {{workers: {workers}, epochs: {epochs}, batch_size: 64, learning_rate: 0.01, gpu: {gpu}}}
search:
  trials: 3
  epochs: 3
  grace_epochs: 1
  space: {{learning_rate: {{loguniform: [0.003, 0.03]}}}}
validate: {{gates: [{{metric: accuracy, min: 0.6}}]}}
serve: {{cpus: 0.25, canary: {{share: 50, min_requests: 20, max_error_increase: 0.5, deadline_s: 90}}}}
monitor: {{min_rows: 50}}
retrain: {{cooldown_minutes: 0}}
"""


@dataclass(frozen=True)
class Live:
    """A running cluster and the command line beside it."""

    home: Path
    environment: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """The settings as a command would load them."""
        return Settings.load(self.environment)

    @property
    def workspace(self) -> Workspace:
        """A fresh handle on the state."""
        return Workspace(self.settings)

    def run(self, *arguments: str, cwd: Path, expect: int = 0) -> str:
        """Run `rayloop ...` as a person would; returns all that it printed."""
        command = [sys.executable, "-m", "rayloop.cli", *arguments]
        done = subprocess.run(command, cwd=cwd, env=dict(self.environment), capture_output=True, text=True, timeout=300)
        printed = done.stdout + done.stderr
        assert done.returncode == expect, printed
        assert "Traceback" not in printed
        return printed


@contextmanager
def running() -> Iterator[Live]:
    """A cluster of its own, on free ports; nothing of it is left."""
    home = Path(tempfile.mkdtemp(prefix="rl-"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAYLOOP_", "MLFLOW_", "RAY_"))}
    ports = {f"RAYLOOP_{name}_PORT": str(free_port()) for name in ("EDGE", "EDGE_GRPC", "MLFLOW", "DASHBOARD", "SERVE")}
    environment = {**kept, **ports, "RAYLOOP_HOME": str(home), "RAYLOOP_ADDRESS": ""}
    environment["RAYLOOP_ADDRESS"] = f"http://127.0.0.1:{ports['RAYLOOP_DASHBOARD_PORT']}"
    found = Live(home, environment)
    found.run("up", "--cpus", "8", cwd=home)
    cluster = LocalCluster.find(found.settings)
    assert cluster is not None
    try:
        yield found
    finally:
        if LocalCluster.find(found.settings) is not None:
            found.run("down", cwd=home)
        left = cluster.owner.processes()
        shutil.rmtree(home)
    assert left == []


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    with running() as found:
        yield found


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    """Makes a project folder of two well-parted clouds of points; returns it."""

    def make(
        name: str, *, use: str = "tabular", params: str = "{}", workers: int = 1, epochs: int = 3, gpu: str = "false"
    ) -> Path:
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        text = TOY_PROJECT.format(name=name, use=use, params=params, workers=workers, epochs=epochs, gpu=gpu)
        (folder / "rayloop.yaml").write_text(text)
        write_rows(folder, "first", seed=1, rows=600)
        return folder

    return make


def write_rows(folder: Path, name: str, *, seed: int, rows: int, shift: float = 0.0) -> pa.Table:
    """Rows of two classes in four columns; `shift` moves every column."""
    import numpy as np

    random = np.random.default_rng(seed)
    label = random.integers(0, 2, rows)
    columns = {f"x{place}": random.normal(label * 1.5 + shift, 1.0).astype("float32") for place in range(4)}
    table = pa.table({"id": np.arange(rows) + seed * 1_000_000, **columns, "label": label})
    pq.write_table(table, folder / "data" / f"{name}.parquet")
    return table


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until a condition holds; fails naming `what` when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)
