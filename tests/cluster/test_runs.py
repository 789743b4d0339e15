"""Runs on a live cluster: stopped, resumed with the same bits, told of while MLflow is down, asked for from Python."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rayloop.jobs
from mlflow import MlflowClient
from rayloop.cluster import Cluster, JobFailed
from rayloop.jobs.report import Progress

from .conftest import Live, wait_until
from .test_training import SLOW_TASK

pytestmark = [pytest.mark.cluster, pytest.mark.live]

EPOCHS = 60  # of half a second each: a command must come in between, also on a busy machine


def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(live: Live, make_project: Callable[..., Path]) -> None:
    folder = make_project("halted", use="slow:Slow", workers=2, epochs=EPOCHS)
    (folder / "slow.py").write_text(SLOW_TASK)
    out: list[str] = []
    runner = threading.Thread(target=lambda: out.append(live.run("train", cwd=folder, expect=1)))
    runner.start()
    runs = live.workspace.runs
    try:
        wait_until(lambda: any(run.epoch >= 3 for run in runs.all() if run.project == "halted"), 180, "epoch 3")
        assert "can't" not in live.run("stop", "halted-train", cwd=folder)
    finally:
        runner.join()
    run = runs.find("halted-train")
    assert (run.state, run.version, len(run.jobs)) == ("stopped", None, 1)
    assert run.epoch < EPOCHS
    assert MlflowClient(live.settings.tracking_uri).get_run(run.run_id).info.status == "KILLED"
    assert "has ended already: stopped" in live.run("stop", run.key, cwd=folder, expect=4)
    assert "no run 'nobody'" in live.run("stop", "nobody", cwd=folder, expect=3)
    (folder / "slow.py").write_text("raise SystemExit('this is not the code that the run had')\n")
    printed = live.run("resume", run.key, cwd=folder)
    assert f"epoch {EPOCHS} of {EPOCHS}" in printed
    assert f"epoch 2 of {EPOCHS}" not in printed
    resumed = runs.get(run.key)
    assert (resumed.state, resumed.version, len(resumed.jobs)) == ("finished", 1, 2)
    assert "has ended well: it is halted v1" in live.run("resume", run.key, cwd=folder, expect=4)
    # A job's whole output may hold tracebacks of Ray's own, so not by `live.run`, which allows none.
    command = [sys.executable, "-m", "rayloop.cli", "logs", run.key]
    done = subprocess.run(command, cwd=folder, env=dict(live.environment), capture_output=True, text=True, timeout=120)
    assert (done.returncode, f"epoch {EPOCHS} of {EPOCHS}" in done.stdout) == (0, True)
    listed = live.run("runs", "halted", cwd=folder)
    assert [word in listed for word in (run.key, "finished", f"{EPOCHS}/{EPOCHS}", "v1")] == [True] * 4
    report = json.loads(live.run("reproduce", "halted", "1", "--json", cwd=folder).splitlines()[-1])
    assert (report["outcome"], report["epochs"]) == ("bit-exact", EPOCHS)
    assert report["labels"] == ["resumed 1 time(s) from a checkpoint"]


def test_without_mlflow_a_training_ends_well_and_is_registered_later(
    live: Live, make_project: Callable[..., Path]
) -> None:
    folder = make_project("down", epochs=4)
    cluster = Cluster.connect(settings=live.settings)
    command = "python -m rayloop.jobs.train --key down-train-1"
    job = cluster.submit(
        command, submission_id="down-train-1", working_dir=folder, env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    )
    with pytest.raises(
        JobFailed, match=r"run down-train-1 is trained and its model kept at .*/runs/down-train-1/model"
    ):
        cluster.wait(job)
    runs = live.workspace.runs
    run = runs.get("down-train-1")
    assert (run.state, run.epoch, run.run_id, run.version) == ("unregistered", 4, "", None)
    assert run.metrics["train_loss"] > 0
    assert len(runs.undelivered(run.key)) >= 10
    printed = live.run("resume", "down", cwd=folder)
    assert "down v1 passed its gates" in printed
    assert "epoch 1 of 4" not in printed  # nothing was trained again
    assert "epoch 4 of 4" not in printed
    run = runs.get("down-train-1")
    assert (run.state, run.version) == ("finished", 1)
    assert runs.undelivered(run.key) == []
    client = MlflowClient(live.settings.tracking_uri)
    steps = [metric.step for metric in client.get_metric_history(run.run_id, "train_loss")]
    assert sorted(steps) == [1, 2, 3, 4]
    assert client.get_run(run.run_id).data.params["workers"] == "1"


@pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")  # Ray's own call of aiohttp
def test_a_training_is_asked_for_from_python(live: Live, make_project: Callable[..., Path]) -> None:
    folder = make_project("typed", epochs=3)
    seen: list[Progress] = []
    began_s = time.monotonic()
    result = rayloop.jobs.train(folder, settings=live.settings, on_progress=seen.append)
    assert (result.model, result.version, result.passed) == ("typed", 1, True)
    assert result.metrics["accuracy"] > 0.6
    assert 0 < result.wall_s < time.monotonic() - began_s
    assert [progress.epoch for progress in seen] == [1, 2, 3]
    version = live.workspace.registry.version("typed", 1)
    assert (version.tags["rayloop.sha256"], version.run_id) == (result.sha256, result.run_id)
    found = MlflowClient(live.settings.tracking_uri).get_run(result.run_id)
    wanted = {"time/forward_ms", "time/backward_ms", "time/epoch_s", "rate/rows_per_s", "system/cpu_percent"}
    assert wanted <= set(found.data.metrics)
    assert found.data.tags["rayloop.world"] == "1"
    again = rayloop.jobs.train(folder, settings=live.settings)
    compared = live.run("compare", result.key, again.key, cwd=folder)
    assert "differ in no setting and no metric" in compared
