"""Trials in MLflow: one child each with its cost, also after a restart, and a broken MLflow stops nothing."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient
from rayloop.jobs.search.objectives import Objective
from rayloop.jobs.search.tracked import Children
from rayloop.jobs.search.trial import DIVERGED, RUNNING, Taken
from rayloop.platform.registry import Tracker

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)  # MLflow's own query


class Broken:
    """A tracker whose server is away."""

    def children(self) -> set[str]:
        raise ConnectionError("away")

    def log_child(self, *arguments: Any) -> None:
        raise ConnectionError("away")


def test_each_trial_is_one_child_with_its_cost(workspace: Any, make_trial: Any) -> None:
    tracker = Tracker(workspace.settings, "toy", "key", kind="tune")
    children = Children(tracker, (Objective("auc"),))
    trials = [
        make_trial(0, [0.6, 0.7], seconds=1.5),
        make_trial(1, [math.nan], outcome=DIVERGED, why="the loss is NaN"),
        make_trial(2, [0.5], outcome=RUNNING),
        replace(make_trial(3), taken=(Taken(2, 0, {}),)),
    ]
    children.log(trials[0])
    for _ in range(2):  # the second time finds nothing missing
        Children(tracker, (Objective("auc"),)).log_missing(trials)
    client = MlflowClient(workspace.settings.tracking_uri)
    experiment = client.get_experiment_by_name("toy")
    runs = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run_id}'")
    found = {run.info.run_name: run for run in runs}
    assert len(runs) == len(found) == 3
    first = found["trial-0"].data
    assert first.params["learning_rate"] == "0.01"
    assert (first.metrics["wall_seconds"], first.metrics["cpu_seconds"], first.metrics["gpu_seconds"]) == (3.0, 4.0, 0)
    assert (first.metrics["best_validation_auc"], first.metrics["epochs"]) == (0.7, 2)
    assert found["trial-1"].info.status == "FAILED"
    assert found["trial-1"].data.tags["rayloop.why"] == "the loss is NaN"
    assert found["trial-3"].data.tags["rayloop.taken.0"] == "trial 0 after epoch 2"


def test_a_broken_mlflow_is_logged_and_stops_nothing(make_trial: Any, caplog: pytest.LogCaptureFixture) -> None:
    children = Children(Broken(), (Objective("auc"),))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        children.log(make_trial(0))
        children.log_missing([make_trial(0)])
    assert "MLflow did not take trial 0: away" in caplog.text
