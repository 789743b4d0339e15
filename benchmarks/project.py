"""Brings rayloop up as a person would, with two trained versions behind a split and tokens on; nothing of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bodies
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from processes import ask, clean_environment, hold_interrupts
from rayloop.cluster import LocalCluster, free_port
from rayloop.cluster.processes import Owner
from rayloop.platform.settings import Settings
from rayloop.platform.traffic import capture_schema
from rayloop.platform.workspace import Workspace
from target import Target

NAME = "mlp"
PERCENT = {1: 90, 2: 10}
QUIET_S = 2.0
CAPTURE_TIMEOUT_S = 60.0
TOKENS_TIMEOUT_S = 10.0


class CommandFailed(Exception):
    """A command of rayloop ended badly; the text is what it printed last."""


@dataclass(frozen=True, slots=True)
class Loop:
    """rayloop while it serves."""

    home: Path
    environment: Mapping[str, str]
    settings: Settings
    owner: Owner
    """How its processes are found."""
    token: str

    def target(
        self,
        body: bytes,
        version: int | None = None,
        name: str = NAME,
        headers: Mapping[str, str] | None = None,
        rows: int = 1,
    ) -> Target:
        """Where rayloop is asked, with a token: by the split, or one version."""
        pinned = "" if version is None else f"/versions/{version}"
        url = f"{self.settings.edge_url}/v2/models/{name}{pinned}/infer"
        authorization = {"authorization": f"Bearer {self.token}"}
        return Target(url, body, {**(headers or {"content-type": "application/json"}), **authorization}, rows)

    def weights(self) -> Path:
        """The safetensors file of version 1."""
        workspace = Workspace(self.settings)
        artifact = workspace.registry.version(NAME, 1).artifact
        workspace.close()
        return Path(artifact.removeprefix("file://")) / "model.safetensors"

    def add_version(self, name: str, project: str) -> None:
        """Train one more version of a project, whose file is `project`, and deploy it."""
        folder = self.home / name
        folder.mkdir(exist_ok=True)
        (folder / "rayloop.yaml").write_text(project)
        _rayloop(folder, self.environment, "train")
        _rayloop(folder, self.environment, "deploy", name)

    def captured(self, name: str = NAME) -> dict[int, int]:
        """How many answers of status 200 each version has written to the capture, once nothing is written any more."""
        deadline = time.monotonic() + CAPTURE_TIMEOUT_S
        found = self.captured_now(name)
        while time.monotonic() < deadline:
            time.sleep(QUIET_S)  # a file is written half a second after its first row
            before, found = found, self.captured_now(name)
            if found == before:
                break
        return found

    def captured_now(self, name: str = NAME) -> dict[int, int]:
        """The same, without waiting."""
        folder = Path(f"{self.settings.store.removeprefix('file://').rstrip('/')}/capture")
        if not folder.exists():
            return dict.fromkeys(PERCENT, 0)
        partitions = ds.partitioning(capture_schema.PARTITION_SCHEMA, flavor="hive")
        rows = ds.dataset(str(folder), format="parquet", partitioning=partitions)
        good = (ds.field("endpoint") == name) & (ds.field(capture_schema.STATUS) == 200)
        return {version: rows.count_rows(filter=good & (ds.field("version") == version)) for version in PERCENT}


def project_file(name: str, data: Path, *, hidden: str = "[64]", serve: str = "replicas: 1, cpus: 0.5") -> str:
    """The text of a project file over the benchmark's table."""
    return f"""\
name: {name}
data: {{source: {data}, target: label}}
task: {{params: {{hidden: {hidden}, dropout: 0.0, numbers: standard}}}}
train: {{epochs: 2, seed: {bodies.SEED}}}
serve: {{{serve}}}
"""


@contextmanager
def served(percent: Mapping[int, int] = PERCENT, replicas: int = 1) -> Iterator[Loop]:
    """A rayloop of its own, on free ports and in a temporary folder; ended in any case."""
    home = Path(tempfile.mkdtemp(prefix="rl-"))
    ports = {f"RAYLOOP_{part}_PORT": str(free_port()) for part in ("EDGE", "MLFLOW", "DASHBOARD", "SERVE")}
    environment = clean_environment(**ports, RAYLOOP_HOME=str(home / ".rayloop"))
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    if "PYTHONPATH" in os.environ:  # by which this very rayloop may have been found
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    try:
        _write_table(home / "data.parquet")
        serve = f"replicas: {replicas}, cpus: {0.5 / replicas}"
        (home / "rayloop.yaml").write_text(project_file(NAME, home / "data.parquet", serve=serve))
        _rayloop(home, environment, "up")
        with ThreadPoolExecutor(1) as beside:  # one version comes up while the next is trained
            deployed = []
            for version in percent:
                _rayloop(home, environment, "train")
                command = ("deploy", NAME, "--version", str(version))
                deployed.append(beside.submit(_rayloop, home, environment, *command))
            for done in deployed:
                done.result()
        _rayloop(home, environment, "split", NAME, *(f"{version}={share}" for version, share in percent.items()))
        token = _rayloop(home, environment, "token", "create", "benchmark").strip()
        settings = Settings.load(environment)
        cluster = LocalCluster.find(settings)
        assert cluster is not None
        loop = Loop(home, environment, settings, cluster.owner, token)
        _wait_for_tokens(loop)
        yield loop
    finally:
        hold_interrupts()
        _end(Settings.load(environment), home, environment)


def _wait_for_tokens(loop: Loop) -> None:
    """Wait until the edge lets nobody in without a token, and us with ours. Raises CommandFailed."""
    ours = loop.target(bodies.v2())
    deadline = time.monotonic() + TOKENS_TIMEOUT_S
    seen = 0
    while time.monotonic() < deadline:
        try:
            ask(Target(ours.url, ours.body))
            seen = 200
        except urllib.error.HTTPError as error:
            seen = error.code
            if seen == 401:
                ask(ours)
                return
        time.sleep(0.1)
    raise CommandFailed(f"the edge answers {seen} to a request without a token; it should be 401")


def _write_table(path: Path) -> None:
    values = np.random.default_rng(bodies.SEED)
    label = values.integers(0, 2, 4_000)
    names = [f"x{place:02d}" for place in range(bodies.FEATURES)]
    columns = {name: values.normal(label * 0.5, 1.0).astype("float32") for name in names}
    pq.write_table(pa.table({**columns, "label": label}), path)


def _rayloop(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """Run one command; returns what it printed."""
    command = [sys.executable, "-m", "rayloop.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise CommandFailed(f"rayloop {' '.join(arguments)}: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout


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
