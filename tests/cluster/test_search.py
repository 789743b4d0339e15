"""Searches on a live cluster: killed and begun again, a population, faults, several workers in one trial."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from rayloop.cluster import LocalCluster
from rayloop.jobs.report import parse_result
from rayloop.jobs.search.manifest import Manifest
from rayloop.jobs.search.trial import FINISHED, RUNNING, STOPPED, Trial

from .conftest import Live, wait_until, write_rows

pytestmark = [pytest.mark.cluster, pytest.mark.live]

PROJECT = """\
name: {name}
data: {{source: data, target: label, key: id}}
task: {{use: "{use}"}}
train: {{batch_size: 64, max_failures: 1}}
search: {search}
"""

SLOW_TASK = '''
import time
from rayloop.platform.model.tabular import TabularTask

class Slow(TabularTask):
    """A user's own task; each epoch takes long enough to be killed in."""

    def build(self, schema, params):
        return super().build(schema, {"hidden": [8]})

    def loss(self, module, batch):
        time.sleep(0.04)
        return super().loss(module, batch)
'''

# Two workers in a trial without two GPUs: what a trial takes is told to it by the driver alone.
TWO_WORKERS = """
from rayloop.jobs.search.capacity import Shape
Shape.of = classmethod(lambda cls, project: cls(2, 0.5, 0.0))
from rayloop.jobs.tune import main
main()
"""


def make(tmp_path: Path, name: str, search: str, use: str = "tabular") -> Path:
    folder = tmp_path / name
    (folder / "data").mkdir(parents=True)
    (folder / "rayloop.yaml").write_text(PROJECT.format(name=name, search=search, use=use))
    (folder / "slow.py").write_text(SLOW_TASK)
    write_rows(folder, "first", seed=1, rows=600)
    return folder


def trials_of(live: Live, key: str) -> list[Trial]:
    return Manifest(live.workspace.store, key).trials()


def children_of(live: Live, name: str, key: str) -> list[Any]:
    client = MlflowClient(live.settings.tracking_uri)
    experiment = client.get_experiment_by_name(name).experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`rayloop.key` = '{key}'")
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"))


def drivers(live: Live, key: str) -> list[psutil.Process]:
    cluster = LocalCluster.find(live.settings)
    assert cluster is not None
    lines = {process: process.cmdline() for process in cluster.owner.processes()}
    return [process for process, line in lines.items() if "rayloop.jobs.tune" in line and key in line]


def trial_processes(live: Live) -> list[psutil.Process]:
    cluster = LocalCluster.find(live.settings)
    assert cluster is not None
    lines = {process: " ".join(process.cmdline()) for process in cluster.owner.processes()}
    return [process for process, line in lines.items() if line.startswith("ray::") and "ImplicitFunc" in line]


def test_a_killed_search_goes_on_and_runs_no_finished_trial_again(live: Live, tmp_path: Path) -> None:
    search = (
        "{trials: 8, concurrent: 2, epochs: 4, grace_epochs: 1, reduction: 2, "
        "space: {learning_rate: {loguniform: [0.0001, 0.1]}}}"
    )
    folder = make(tmp_path, "cut-off", search, use="slow:Slow")
    command = [sys.executable, "-m", "rayloop.cli", "tune", "--key", "cut"]
    first = subprocess.Popen(command, cwd=folder, env=dict(live.environment), stdout=subprocess.PIPE, text=True)
    try:

        def is_halfway() -> bool:
            found = trials_of(live, "cut")
            return sum(trial.has_ended for trial in found) >= 3 and any(
                trial.outcome == RUNNING and trial.epochs for trial in found
            )

        wait_until(is_halfway, 180, "three ended trials and one in the middle")
        for process in drivers(live, "cut"):
            os.kill(process.pid, signal.SIGKILL)
    finally:
        printed, _ = first.communicate(timeout=60)
    assert first.returncode != 0, printed
    before = {trial.number: trial for trial in trials_of(live, "cut")}
    ended = [number for number, trial in before.items() if trial.has_ended]
    cut_off = [number for number, trial in before.items() if not trial.has_ended]
    assert 3 <= len(ended) < 8
    assert cut_off

    printed = live.run("tune", "--key", "cut", cwd=folder)
    assert f"search cut goes on: {len(ended)} trials ended before, {len(cut_off)} were cut off" in printed
    after = {trial.number: trial for trial in trials_of(live, "cut")}
    assert sorted(after) == list(range(8))
    assert {number: after[number] for number in ended} == {number: before[number] for number in ended}
    for trial in after.values():
        assert trial.outcome in {FINISHED, STOPPED}
        # No epoch twice, none left out: what was cut off went on from its checkpoint.
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1))
    assert all(after[n].reports[: before[n].epochs] == before[n].reports for n in cut_off)
    assert any(before[n].epochs for n in cut_off)
    names = [child.info.run_name for child in children_of(live, "cut-off", "cut")]
    assert sorted(names) == [f"trial-{number}" for number in range(8)]
    assert all(child.data.metrics["wall_seconds"] > 0 for child in children_of(live, "cut-off", "cut"))

    assert "search cut is over: it gave v1" in live.run("tune", "--key", "cut", cwd=folder)
    assert len(live.workspace.registry.versions("cut-off")) == 1
    text = (folder / "rayloop.yaml").read_text()
    (folder / "rayloop.yaml").write_text(text.replace("trials: 8", "trials: 9"))
    refused = live.run("tune", "--key", "cut", cwd=folder, expect=4)
    assert "search 'cut' was begun with search.trials = 8, and it is 9 now: take another key" in refused


def test_a_trial_whose_process_dies_goes_on_from_its_last_epoch(live: Live, tmp_path: Path) -> None:
    search = (
        "{trials: 2, concurrent: 1, epochs: 4, searcher: grid, scheduler: none, "
        "space: {batch_size: {choice: [64, 60]}}}"
    )
    folder = make(tmp_path, "dying", search, use="slow:Slow")
    out: list[str] = []
    runner = threading.Thread(target=lambda: out.append(live.run("tune", "--key", "die", cwd=folder)))
    runner.start()
    killed: list[int] = []
    try:
        wait_until(lambda: any(trial.epochs == 2 for trial in trials_of(live, "die")), 120, "a second epoch")
        for process in trial_processes(live):
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
    finally:
        runner.join()
    assert killed
    assert "2 trials: 2 finished; 8 of 8 epochs" in out[0]
    assert [[report.epoch for report in trial.reports] for trial in trials_of(live, "die")] == [[1, 2, 3, 4]] * 2


def test_a_population_goes_on_from_better_weights_with_other_rates(live: Live, tmp_path: Path) -> None:
    search = (
        "{trials: 4, epochs: 6, scheduler: pbt, perturb_epochs: 2, "
        "space: {learning_rate: {choice: [1.0e-9, 1.0e-8, 0.01, 0.03]}}, searcher: grid, objectives: [log_loss]}"
    )
    folder = make(tmp_path, "population", search)
    printed = live.run("tune", "--key", "pop", cwd=folder)
    assert "4 trials of up to 6 epochs, 4 at a time, by grid with pbt" in printed
    trials = trials_of(live, "pop")
    taken = [(trial, one) for trial in trials for one in trial.taken]
    assert taken, printed
    for trial, one in taken:
        assert one.settings["learning_rate"] in {1e-9, 1e-8, 0.01, 0.03}
        before = next(report for report in trial.reports if report.epoch == one.epoch)
        donor = next(r for r in trials[one.trial].reports if r.epoch == one.epoch)
        assert donor.score < before.score
        first_after = next(r for r in trial.reports if r.epoch == one.epoch + 1)
        assert first_after.score <= donor.score  # the donor's best weights came along
    assert all(trial.outcome == FINISHED for trial in trials)
    tags = [child.data.tags for child in children_of(live, "population", "pop")]
    assert any("rayloop.taken.0" in found for found in tags)
    assert len(live.workspace.registry.versions("population")) == 1


def test_a_trial_that_diverges_is_marked_and_the_search_goes_on(live: Live, tmp_path: Path) -> None:
    search = "{trials: 2, epochs: 2, searcher: grid, space: {learning_rate: {choice: [1.0e+30, 0.01]}}}"
    folder = make(tmp_path, "diverging", search)
    printed = live.run("tune", "--key", "nan", cwd=folder)
    assert "trial 0 diverged after 0 of 2 epochs: the loss is NaN or infinite in epoch 1" in printed
    assert "2 trials: 1 diverged, 1 finished; 2 of 4 epochs" in printed
    assert "importances for accuracy: too few trials" in printed
    statuses = {child.info.run_name: child.info.status for child in children_of(live, "diverging", "nan")}
    assert statuses == {"trial-0": "FAILED", "trial-1": "FINISHED"}
    client = MlflowClient(live.settings.tracking_uri)
    run = live.workspace.registry.version("diverging", 1).run_id
    assert "search.html" in {found.path for found in client.list_artifacts(run)}


def test_where_all_fail_the_first_reason_is_the_sentence(live: Live, tmp_path: Path) -> None:
    search = "{trials: 2, epochs: 2, searcher: grid, space: {learning_rate: {choice: [1.0e+30, 1.0e+31]}}}"
    folder = make(tmp_path, "hopeless", search)
    printed = live.run("tune", cwd=folder, expect=1)
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert errors[0].startswith("error: all 2 trials failed; the first one: the loss is NaN or infinite in epoch 1")
    assert live.workspace.registry.versions("hopeless") == []


def test_several_objectives_conditions_and_a_warm_start(live: Live, tmp_path: Path) -> None:
    search = (
        "{trials: 3, epochs: 2, objectives: [auc, cpu_seconds], tolerance: 0.5, warm_start: true, scheduler: none, "
        "space: {learning_rate: {loguniform: [0.001, 0.1]}, hidden: {choice: [[8], [32]]}, "
        "dropout: {uniform: [0.1, 0.5], when: {hidden: [[32]]}}}}"
    )
    folder = make(tmp_path, "several", search)
    first = live.run("tune", "--key", "one", cwd=folder)
    assert "earlier searches tell the searcher of 0 trials" in first
    second = live.run("tune", "--key", "two", cwd=folder)
    assert "earlier searches tell the searcher of 3 trials" in second
    trials = [*trials_of(live, "one"), *trials_of(live, "two")]
    assert all(("dropout" in trial.settings) is (trial.settings["hidden"] == [32]) for trial in trials)
    result = Manifest(live.workspace.store, "one").result()
    assert result is not None
    cheapest = min(trials[:3], key=lambda trial: trial.cost("cpu_seconds"))  # all are within 0.5 of the best
    assert result["best"]["cpu_seconds"] == cheapest.cost("cpu_seconds")
    assert cheapest.number in [found["trial"] for found in result["pareto"]]


def test_two_workers_of_a_trial_train_as_one_does(live: Live, tmp_path: Path) -> None:
    search = "{trials: 2, concurrent: 2, epochs: 3, searcher: grid, space: {learning_rate: {choice: [0.003, 0.01]}}}"
    folder = make(tmp_path, "grouped", search)
    path = folder / "rayloop.yaml"
    path.write_text(path.read_text().replace("task: {", "task: {params: {dropout: 0.0}, "))  # each rank draws its own
    live.run("tune", "--key", "alone", cwd=folder)
    (folder / "two.py").write_text(TWO_WORKERS)
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", live.settings.address]
    command += ["--working-dir", str(folder), "--", "python", "two.py", "--key", "both"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert next(found for line in done.stdout.splitlines() if (found := parse_result(line)))["trials"] == 2
    for alone, both in zip(trials_of(live, "alone"), trials_of(live, "both"), strict=True):
        assert both.outcome == FINISHED
        assert both.epochs == alone.epochs == 3
        losses = [[report.metrics["train_loss"] for report in trial.reports] for trial in (alone, both)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
