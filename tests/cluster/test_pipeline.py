"""A pipeline run on a live cluster: its job is killed halfway, and the steward brings it to its end all the same."""

from __future__ import annotations

import os
import signal
import threading

import httpx
import pytest
from rayloop.cluster import Cluster, LocalCluster
from rayloop.jobs.steward import job_id
from rayloop.platform.traffic import Split, Variant

from .conftest import Live, wait_until, write_rows

pytestmark = pytest.mark.cluster

NAME = "loop"


def test_a_killed_pipeline_run_is_taken_up_and_promotes(live: Live, make_project) -> None:
    folder = make_project(NAME)
    live.run("train", cwd=folder)
    live.run("deploy", NAME, cwd=folder)
    write_rows(folder, "second", seed=2, rows=600, shift=2.0)
    workspace = live.workspace
    with _Clients(live) as clients:
        assert "pipeline run" in live.run("retrain", NAME, "--no-wait", cwd=folder)
        (run,) = workspace.pipelines.runs(NAME)
        wait_until(lambda: _has_begun(live, run.id, "train"), 60, "the train step")
        _kill_job(live, job_id(run.id, 1))
        wait_until(lambda: workspace.pipelines.get(run.id).has_ended, 240, "the run ends")
    ended = workspace.pipelines.get(run.id)
    assert (ended.state, ended.attempts) == ("promoted", 2)
    steps = workspace.pipelines.steps(run.id)
    assert [step.name for step in steps] == ["snapshot", "train", "deploy", "canary", "promote"]
    assert all(step.ended_s is not None for step in steps)
    # The second attempt went on with the first one's training run: one version came of it, not two.
    assert [found.version for found in workspace.registry.versions(NAME)] == [1, 2]
    assert workspace.registry.alias(NAME, "champion") == 2
    assert workspace.endpoints.split(NAME) == Split(NAME, (Variant(2, 10_000),), 3)
    assert clients.failed == 0
    assert clients.answered > 100
    assert [found.rows for found in workspace.projects.snapshots(NAME)] == [600, 1200]
    assert workspace.ledger.first_fault() is None
    assert Cluster.connect(settings=live.settings).job_state(job_id(run.id, 2)) in {"RUNNING", "SUCCEEDED"}


class _Clients:
    """Requests in the background; every answer that is not a 200 counts as failed."""

    def __init__(self, live: Live) -> None:
        self._url = f"{live.settings.edge_url}/v2/models/{NAME}/infer"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = self.failed = 0

    def __enter__(self) -> _Clients:
        with httpx.Client() as client:
            wait_until(lambda: client.post(self._url, json=_body()).status_code == 200, 10, "the first answer")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stop.wait(0.02):
                if client.post(self._url, json=_body()).status_code == 200:
                    self.answered += 1
                else:
                    self.failed += 1


def _body() -> dict:
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}]}


def _has_begun(live: Live, run_id: str, step: str) -> bool:
    return any(found.name == step for found in live.workspace.pipelines.steps(run_id))


def _kill_job(live: Live, job: str) -> None:
    """kill -9 of the job's own process; Ray sees it fail."""
    cluster = LocalCluster.find(live.settings)
    assert cluster is not None
    run_id = job.removeprefix("pipeline-").rpartition("-")[0]
    drivers = [p for p in cluster.owner.processes() if p.cmdline()[-1:] == [run_id] and "bash" not in p.cmdline()[0]]
    assert drivers
    for driver in drivers:
        os.kill(driver.pid, signal.SIGKILL)
