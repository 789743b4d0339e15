"""Trainings whose workers, job and node are killed on a live cluster: each ends with the weights of one left alone."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from rayloop.cluster import Cluster, LocalCluster
from rayloop.jobs.report import parse_result, readable
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.data import part_tables
from rayloop.platform.project import load_project

from .conftest import Live, wait_until
from .test_training import SLOW_TASK

pytestmark = [pytest.mark.cluster, pytest.mark.live]


class Job:
    """A training of the folder under a key."""

    def __init__(self, live: Live, folder: Path, key: str) -> None:
        self._cluster = Cluster.connect(settings=live.settings)
        self._id = self._cluster.submit(f"{sys.executable} -m rayloop.jobs.train --key {key}", working_dir=folder)

    def lines(self) -> list[str]:
        """What it has said so far; its log is asked for, since following it warns of aiohttp's own."""
        return [readable(line) for line in self._cluster.logs(self._id)]

    def wait_for(self, text: str, timeout_s: float = 120) -> None:
        """Return when it has said something; fails with all that it said when the time is over."""
        try:
            wait_until(lambda: any(text in line for line in self.lines()), timeout_s, text)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.lines()])) from None

    def result(self) -> Mapping[str, Any]:
        """What it came to, at its end."""
        found: list[Mapping[str, Any]] = []

        def has_ended() -> bool:
            lines = self.lines()
            found.extend(result for line in lines if (result := parse_result(line)))
            return bool(found) or any(line.startswith("error: ") for line in lines)

        wait_until(has_ended, 240, "the end of the training")
        assert found, "\n".join(self.lines())
        return found[0]


def weights(live: Live, result: Mapping[str, Any]) -> str:
    """The SHA-256 of a version's weights."""
    version = live.workspace.registry.version(result["model"], result["version"])
    return hashlib.sha256((Path(version.artifact) / "model.safetensors").read_bytes()).hexdigest()


def processes(live: Live, word: str) -> list[psutil.Process]:
    cluster = LocalCluster.find(live.settings)
    assert cluster is not None
    return [process for process in cluster.owner.processes() if word in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it ended meanwhile
        return ""


def kill(found: list[psutil.Process]) -> None:
    assert found
    for process in found:
        os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def slow(live: Live, make_project: Callable[..., Path]) -> Path:
    """A project whose steps take long enough to be killed in, saved after each second one."""
    folder = make_project("faulty", use="slow:Slow", workers=2, epochs=8)
    (folder / "slow.py").write_text(SLOW_TASK.replace("0.06", "0.3"))
    path = folder / "rayloop.yaml"
    path.write_text(path.read_text().replace("gpu: false", "gpu: false, checkpoint: {every_steps: 2}"))
    return folder


_calm: dict[str, str] = {}


def undisturbed(live: Live, folder: Path, key: str) -> str:
    """The hash of the weights of a training that nothing happened to."""
    if key not in _calm:
        _calm[key] = weights(live, Job(live, folder, key).result())
    return _calm[key]


@pytest.fixture
def calm(live: Live, slow: Path) -> str:
    """The hash of a training of two workers of one CPU."""
    return undisturbed(live, slow, "calm")


def test_all_workers_are_killed(live: Live, slow: Path, calm: str) -> None:
    job = Job(live, slow, "workers-die")
    job.wait_for("epoch 1 of 8")
    kill(processes(live, "RayTrainWorker"))
    assert weights(live, job.result()) == calm


def test_the_job_is_killed_and_started_again(live: Live, slow: Path, calm: str) -> None:
    job = Job(live, slow, "job-dies")
    job.wait_for("epoch 1 of 8")
    kill(processes(live, "--key job-dies"))
    again = Job(live, slow, "job-dies")
    assert weights(live, again.result()) == calm
    path = slow / "rayloop.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.01", "learning_rate: 0.02"))
    other = Job(live, slow, "job-dies")
    other.wait_for("train.learning_rate = 0.01, which is 0.02 now")


@pytest.fixture
def two_nodes(live: Live) -> Iterator[str]:
    """A second node, on which one of two workers of five CPUs must lie; gives its id."""
    cluster = Cluster.connect(settings=live.settings)
    known = {node.node_id for node in cluster.status().nodes}
    live.run("scale", "--cpus", "14", cwd=live.home)
    yield next(node.node_id for node in cluster.status().nodes if node.node_id not in known)
    cluster.scale(cpus=8)


def lose(live: Live, node_id: str) -> None:
    """Kill a node's raylet; returns when the cluster knows."""
    kill([process for process in processes(live, "raylet/raylet") if node_id in _command(process)])
    cluster = Cluster.connect(settings=live.settings)
    wait_until(lambda: all(node.node_id != node_id for node in cluster.status().nodes), 60, "the loss is seen")


def wide(folder: Path, workers: str = "2") -> None:
    path = folder / "rayloop.yaml"
    text = path.read_text().replace("gpu: false", "gpu: false, cpus_per_worker: 5")
    path.write_text(text.replace("workers: 2", f"workers: {workers}"))


def test_a_node_is_lost_and_another_comes(live: Live, slow: Path, two_nodes: str) -> None:
    wide(slow)
    calm = undisturbed(live, slow, "calm-wide")
    job = Job(live, slow, "node-dies")
    job.wait_for("epoch 1 of 8")
    lose(live, two_nodes)
    live.run("scale", "--cpus", "14", cwd=live.home)
    assert weights(live, job.result()) == calm


def test_a_node_that_goes_away_with_notice_loses_one_step_at_most(live: Live, slow: Path, two_nodes: str) -> None:
    wide(slow)
    calm = undisturbed(live, slow, "calm-wide")
    counted = slow / "steps.txt"
    code = (slow / "slow.py").read_text()
    count = f"""
        import torch.distributed as dist
        if module.training and dist.get_rank() == 0 and 2 < len(batch.target) <= 32:
            with open({str(counted)!r}, "a") as file:
                file.write("step ")
        time.sleep("""
    (slow / "slow.py").write_text(code.replace("time.sleep(", count.strip()))
    job = Job(live, slow, "node-drained")
    job.wait_for("first step")
    cluster = LocalCluster.find(live.settings)
    assert cluster is not None
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.gcs_address]
    command += ["--node-id", two_nodes, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", "a test", "--deadline-remaining-seconds", "600"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    job.wait_for("a node is to go away", 30)
    lose(live, two_nodes)
    live.run("scale", "--cpus", "14", cwd=live.home)
    result = job.result()
    assert weights(live, result) == calm
    rows = part_tables(live.workspace.snapshot("faulty"), load_project(slow / "rayloop.yaml"))["train"].num_rows
    steps = 8 * math.ceil(rows / 64)  # of 32 rows on each rank; a try also computes a loss of 2, and one of more
    assert steps <= len(counted.read_text().split()) <= steps + 1


def test_the_workers_become_more_and_fewer_with_the_cluster(live: Live, slow: Path) -> None:
    wide(slow, "{min: 1, max: 2}")
    path = slow / "rayloop.yaml"
    path.write_text(path.read_text().replace("epochs: 8", "epochs: 200"))
    cluster = Cluster.connect(settings=live.settings)
    known = {node.node_id for node in cluster.status().nodes}
    job = Job(live, slow, "elastic")
    job.wait_for("epoch 1 of 200")
    live.run("scale", "--cpus", "14", cwd=live.home)
    wait_until(lambda: len(processes(live, "RayTrainWorker")) == 2, 120, "a second worker")
    wait_until(lambda: _starts(live, "elastic") == [1, 2], 120, "an epoch of both")
    added = next(node.node_id for node in cluster.status().nodes if node.node_id not in known)
    lose(live, added)
    wait_until(lambda: _starts(live, "elastic") == [1, 2, 1], 120, "an epoch of one again")
    live.run("stop", "elastic", cwd=slow)


def _starts(live: Live, key: str) -> list[int]:
    """On how many workers the training of a key has begun so far, as its newest checkpoint knows."""
    import io

    import torch

    found = Checkpoints(live.workspace.store, f"training/{key}/checkpoints", 2).latest(lambda _: None)
    if found is None:
        return []
    state = torch.load(io.BytesIO(found[1]["state.pt"]), weights_only=True)
    return [start["world"] for start in state["kept"]["witness"]["starts"]]
