"""Brings rayloop up as a person would, with two trained versions behind a split of 90 to 10; nothing of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from load import Target
from processes import clean_environment, hold_interrupts
from rayloop.cluster import LocalCluster, free_port
from rayloop.cluster.processes import Owner
from rayloop.platform.settings import Settings
from rayloop.platform.traffic import capture_schema
from rayloop.platform.workspace import Workspace

NAME = "mlp"
FEATURES = 30
SEED = 7
PERCENT = {1: 90, 2: 10}
_PROJECT = f"""\
name: {NAME}
data: {{source: data.parquet, target: label}}
task: {{params: {{hidden: [64], dropout: 0.0}}}}
train: {{epochs: 2, seed: {SEED}}}
serve: {{replicas: 1, cpus: 0.5}}
"""


class CommandFailed(Exception):
    """A command of rayloop ended badly; the text is what it printed last."""


@dataclass(frozen=True, slots=True)
class Loop:
    """rayloop while it serves."""

    settings: Settings
    weights: Path
    """The safetensors file of version 1."""
    owner: Owner
    """How its processes are found."""

    def target(self, body: bytes, version: int | None = None) -> Target:
        """Where rayloop is asked: by the split, or one version."""
        pinned = "" if version is None else f"/versions/{version}"
        return Target(f"{self.settings.edge_url}/v2/models/{NAME}{pinned}/infer", body)

    def captured(self) -> dict[int, int]:
        """How many predictions of each version are written to the capture."""
        folder = f"{self.settings.store.removeprefix('file://').rstrip('/')}/capture"
        partitions = ds.partitioning(capture_schema.PARTITION_SCHEMA, flavor="hive")
        rows = ds.dataset(folder, format="parquet", partitioning=partitions)
        return {version: rows.count_rows(filter=ds.field("version") == version) for version in PERCENT}


def row() -> list[float]:
    """The row that every server is asked for."""
    return [round(float(value), 4) for value in np.random.default_rng(SEED).normal(size=FEATURES)]


@contextmanager
def served() -> Iterator[Loop]:
    """A rayloop of its own, on free ports and in a temporary folder; ended in any case."""
    home = Path(tempfile.mkdtemp(prefix="rl-"))
    ports = {f"RAYLOOP_{part}_PORT": str(free_port()) for part in ("EDGE", "MLFLOW", "DASHBOARD", "SERVE")}
    environment = clean_environment(**ports, RAYLOOP_HOME=str(home / ".rayloop"))
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    try:
        _write_project(home)
        _rayloop(home, environment, "up")
        for version in PERCENT:
            _rayloop(home, environment, "train")
            _rayloop(home, environment, "deploy", NAME, "--version", str(version))
        _rayloop(home, environment, "split", NAME, *(f"{version}={share}" for version, share in PERCENT.items()))
        settings = Settings.load(environment)
        workspace = Workspace(settings)
        artifact = workspace.registry.version(NAME, 1).artifact
        workspace.close()
        cluster = LocalCluster.find(settings)
        assert cluster is not None
        yield Loop(settings, Path(artifact.removeprefix("file://")) / "model.safetensors", cluster.owner)
    finally:
        hold_interrupts()
        _end(Settings.load(environment), home, environment)


def _write_project(home: Path) -> None:
    (home / "rayloop.yaml").write_text(_PROJECT)
    values = np.random.default_rng(SEED)
    label = values.integers(0, 2, 4_000)
    columns = {f"x{place:02d}": values.normal(label * 0.5, 1.0).astype("float32") for place in range(FEATURES)}
    pq.write_table(pa.table({**columns, "label": label}), home / "data.parquet")


def _rayloop(home: Path, environment: Mapping[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "rayloop.cli", *arguments]
    done = subprocess.run(command, cwd=home, env=dict(environment), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise CommandFailed(f"rayloop {' '.join(arguments)}: {(done.stdout + done.stderr).strip()[-1500:]}")


def _end(settings: Settings, home: Path, environment: Mapping[str, str]) -> None:
    """`rayloop down`, and what it may have left."""
    cluster = LocalCluster.find(settings)
    if cluster is not None:
        try:
            _rayloop(home, environment, "down")
        except (CommandFailed, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
        finally:
            cluster.owner.end_all()
    shutil.rmtree(home, ignore_errors=True)
