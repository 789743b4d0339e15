"""Training on a live cluster: by command, by `ray job submit`, through lost workers, with bad demands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from rayloop.cluster import Cluster, LocalCluster
from rayloop.jobs.report import parse_result

from .conftest import Live, wait_until

pytestmark = pytest.mark.cluster

SLOW_TASK = '''
import time
from rayloop.platform.model.tabular import TabularTask

class Slow(TabularTask):
    """A user's own task; each step takes long enough to be killed in."""

    def build(self, schema, params):
        return super().build(schema, {"hidden": [16], "dropout": 0.3})

    def loss(self, module, batch):
        time.sleep(0.06)
        return super().loss(module, batch)
'''


def test_ray_job_submit_by_hand_trains(live: Live, make_project) -> None:
    folder = make_project("by-hand", workers=2)
    # As the docs say: nothing of ours but the module's name.
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", live.settings.address]
    command += ["--working-dir", str(folder), "--", "python", "-m", "rayloop.jobs.train"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [found for line in done.stdout.splitlines() if (found := parse_result(line))]
    assert results[0]["passed"]
    version = live.workspace.registry.version("by-hand", 1)
    client = MlflowClient(live.settings.tracking_uri)
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["snapshot"] == results[0]["snapshot"]
    assert run.data.params["workers"] == "2"
    steps = [metric.step for metric in client.get_metric_history(version.run_id, "validation_accuracy")]
    assert sorted(set(steps)) == [1, 2, 3]
    assert {"environment.txt", "manifest.json", "project.json", "plan.json", "witness.json"} <= {
        f.path for f in client.list_artifacts(version.run_id)
    }
    files = {path.name for path in Path(version.artifact).rglob("*") if path.is_file()}
    assert files == {"model.safetensors", "model.json", "profile.parquet"}


def test_a_streamed_table_becomes_a_version(live: Live, make_project) -> None:
    folder = make_project("streamed", workers=2)
    path = folder / "rayloop.yaml"
    path.write_text(path.read_text().replace("\ntrain: {", "\ntrain: {input: stream, class_weights: balanced, "))
    source = folder / "data/first.parquet"
    pq.write_table(pq.read_table(source), source, row_group_size=50)
    assert "v1 passed its gates" in live.run("train", cwd=folder)
    assert {"safetensors", "json", "parquet"} <= {
        path.name.rpartition(".")[2]
        for path in Path(live.workspace.registry.version("streamed", 1).artifact).rglob("*")
    }


def test_a_killed_worker_changes_no_number(live: Live, make_project) -> None:
    folder = make_project("slow", use="slow:Slow", workers=2, epochs=6)
    (folder / "slow.py").write_text(SLOW_TASK)
    calm = live.run("train", cwd=folder)
    assert "v1 passed its gates" in calm
    killed: list[int] = []
    out: list[str] = []
    runner = threading.Thread(target=lambda: out.append(live.run("train", cwd=folder)))
    runner.start()
    try:
        client = MlflowClient(live.settings.tracking_uri)

        def in_mid_training() -> bool:
            experiment = client.get_experiment_by_name("slow")
            runs = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
            return bool(runs) and "train_loss" in runs[0].data.metrics

        wait_until(in_mid_training, 120, "the first epoch of the second run")
        workers = _train_workers(live)
        assert len(workers) == 2
        os.kill(workers[0].pid, signal.SIGKILL)
        killed.append(workers[0].pid)
    finally:
        runner.join()
    assert killed
    assert "epoch 6 of 6" in out[0]
    registry = live.workspace.registry
    first, second = registry.version("slow", 1), registry.version("slow", 2)
    assert first.run_id != second.run_id
    histories = [_history(live, version.run_id) for version in (first, second)]
    assert histories[0] == histories[1]
    assert first.tags["rayloop.sha256"] == second.tags["rayloop.sha256"]


def test_a_gpu_that_is_not_there_is_one_sentence(live: Live, make_project) -> None:
    folder = make_project("greedy", gpu="true")
    printed = live.run("train", cwd=folder, expect=5)
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: train.gpu is true and train.workers is 1, but the cluster has 0 GPUs: "
        "set train.gpu to false, or connect to a cluster with GPUs"
    ]
    assert live.workspace.registry.versions("greedy") == []
    assert MlflowClient(live.settings.tracking_uri).get_experiment_by_name("greedy") is None


def test_tune_registers_the_best_trial(live: Live, make_project) -> None:
    folder = make_project("searched")
    printed = live.run("tune", cwd=folder)
    assert "best of 3 trials" in printed
    version = live.workspace.registry.version("searched", 1)
    client = MlflowClient(live.settings.tracking_uri)
    run = client.get_run(version.run_id)
    trials = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{version.run_id}'")
    assert len(trials) == 3
    best = max(trial.data.metrics["best_validation_accuracy"] for trial in trials)
    assert max(m.value for m in client.get_metric_history(version.run_id, "validation_accuracy")) == best
    plan = json.loads(version.tags["rayloop.plan"])
    assert any(float(trial.data.params["learning_rate"]) == plan["learning_rate"] for trial in trials)


def test_scale_adds_and_removes_nodes(live: Live) -> None:
    cluster = Cluster.connect(settings=live.settings)
    before = cluster.status()
    assert before.cpus == 8
    assert "10 CPUs" in live.run("scale", "--cpus", "10", cwd=live.home)
    assert len(cluster.status().nodes) == 2
    assert cluster.scale(cpus=8).cpus == 8
    assert "the head itself has 8 CPUs" in live.run("scale", "--cpus", "4", cwd=live.home, expect=4)


def _train_workers(live: Live) -> list[psutil.Process]:
    cluster = LocalCluster.find(live.settings)
    assert cluster is not None
    return [process for process in cluster.owner.processes() if "RayTrainWorker" in " ".join(process.cmdline())]


def _history(live: Live, run_id: str) -> dict[str, list[tuple[int, float]]]:
    client = MlflowClient(live.settings.tracking_uri)
    # A name with a `/` tells of the machine, which is busier or less so each time.
    names = [name for name in client.get_run(run_id).data.metrics if "/" not in name]
    return {
        name: sorted({(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)})
        for name in names
    }
