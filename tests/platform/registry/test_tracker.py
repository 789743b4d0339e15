"""A run is found again by its key, and holds what was logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from rayloop.platform import registry
from rayloop.platform.registry import Tracker, environment_lock
from rayloop.platform.registry.tracker import MAX_PARAM_CHARS
from rayloop.platform.settings import Settings


@pytest.fixture
def client(settings: Settings) -> MlflowClient:
    return MlflowClient(settings.tracking_uri)


def test_public_names_exist() -> None:
    assert [name for name in registry.__all__ if not hasattr(registry, name)] == []


def test_a_run_is_found_again_by_its_key(settings: Settings, client: MlflowClient) -> None:
    first = Tracker(settings, "found", "churn-1/train", "train")
    assert Tracker(settings, "found", "churn-2/train", "train").run_id != first.run_id
    assert Tracker(settings, "other", "churn-1/train", "train").run_id != first.run_id
    first.finish("FAILED")
    again = Tracker(settings, "found", "churn-1/train", "train")
    run = client.get_run(again.run_id)
    assert again.run_id == first.run_id
    assert run.info.status == "RUNNING"
    assert run.info.run_name == run.data.tags["rayloop.key"] == "churn-1/train"
    assert run.data.tags["rayloop.kind"] == "train"
    again.finish()
    assert client.get_run(again.run_id).info.status == "FINISHED"


def test_what_is_logged_is_there(settings: Settings, client: MlflowClient) -> None:
    tracker = Tracker(settings, "logged", "k", "train")
    long = "x" * 2 * MAX_PARAM_CHARS
    for _ in range(2):  # a job that runs again logs the same again
        tracker.log_params({"hidden": [8, 4], "long": long}, {"rayloop.snapshot": "abc"})
    for epoch, loss in ((1, 0.7), (2, 0.5)):
        tracker.log_metrics({"loss": loss, "accuracy": 1 - loss}, epoch)
    tracker.log_text("environment.txt", "torch==2\n")
    run = client.get_run(tracker.run_id)
    assert run.data.params == {"hidden": "[8, 4]", "long": long[:MAX_PARAM_CHARS]}
    assert run.data.tags["rayloop.snapshot"] == "abc"
    assert run.data.metrics == {"loss": 0.5, "accuracy": 0.5}
    history = [(metric.step, metric.value) for metric in client.get_metric_history(tracker.run_id, "loss")]
    assert history == [(1, 0.7), (2, 0.5)]
    path = Path(settings.store) / "mlflow" / "logged" / tracker.run_id / "artifacts" / "environment.txt"
    assert path.read_text() == "torch==2\n"
    with pytest.raises(MlflowException):
        tracker.log_params({"hidden": [9]}, {})


def test_a_trial_lies_under_its_run(settings: Settings, client: MlflowClient) -> None:
    tracker = Tracker(settings, "trials", "k", "tune")
    tracker.log_child("trial 3", {"lr": 0.01}, {"accuracy": 0.9}, "FINISHED")
    experiment = client.get_experiment_by_name("trials")
    (child,) = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{tracker.run_id}'")
    assert (child.info.run_name, child.info.status) == ("trial 3", "FINISHED")
    assert (child.data.params, child.data.metrics) == ({"lr": "0.01"}, {"accuracy": 0.9})


def test_the_environment_is_listed_and_sorted() -> None:
    lines = environment_lock().splitlines()
    assert lines == sorted(set(lines), key=str.lower)
    assert any(line.startswith("numpy==") for line in lines)
