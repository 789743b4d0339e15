"""A run is found again by its key, holds what was logged, and is whole in the store where MLflow is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rayloop.platform import registry
from rayloop.platform.data import Store
from rayloop.platform.errors import Conflict, InvalidInput, Unavailable
from rayloop.platform.model.artifact import load_artifact
from rayloop.platform.registry import Tracker
from rayloop.platform.registry.delivery import MAX_PARAM_CHARS
from rayloop.platform.registry.tracker import JOB_VARIABLE
from rayloop.platform.settings import Settings
from rayloop.platform.state import Runs


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
    assert tracker.flush()
    run = client.get_run(tracker.run_id)
    assert run.data.params == {"hidden": "[8, 4]", "long": long[:MAX_PARAM_CHARS]}
    assert run.data.tags["rayloop.snapshot"] == "abc"
    assert run.data.metrics == {"loss": 0.5, "accuracy": 0.5}
    history = [(metric.step, metric.value) for metric in client.get_metric_history(tracker.run_id, "loss")]
    assert history == [(1, 0.7), (2, 0.5)]
    path = Path(settings.store) / "mlflow" / "logged" / tracker.run_id / "artifacts" / "environment.txt"
    assert path.read_text() == "torch==2\n"
    with pytest.raises(Conflict, match=r"run k was begun with hidden = \[8, 4\], and can't go on with \[9\]"):
        tracker.log_params({"hidden": [9]}, {})
    for torch in ("2.13", "2.14"):  # a run may go on with another one
        tracker.log_params({"torch": torch}, {})
    assert tracker.flush()
    assert client.get_run(tracker.run_id).data.params["torch"] == "2.13"


def test_a_trial_lies_under_its_run(settings: Settings, client: MlflowClient) -> None:
    tracker = Tracker(settings, "trials", "k", "tune")
    for _ in range(2):  # told twice, it is there once
        tracker.log_child("trial 3", {"lr": 0.01}, {"accuracy": 0.9}, "FINISHED", {"rayloop.why": "it was good"})
    assert tracker.children() == {"trial 3"}
    experiment = client.get_experiment_by_name("trials")
    (child,) = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{tracker.run_id}'")
    assert (child.info.run_name, child.info.status) == ("trial 3", "FINISHED")
    assert (child.data.params, child.data.metrics) == ({"lr": "0.01"}, {"accuracy": 0.9})
    assert child.data.tags["rayloop.why"] == "it was good"


def test_what_the_training_told_itself_is_not_told_again(settings: Settings, client: MlflowClient) -> None:
    history = [{"loss": 0.7, "time/epoch_s": 1.5}, {"loss": 0.5, "time/epoch_s": 1.2}, {"loss": 0.4}]
    tracker = Tracker(settings, "history", "k", "train")
    tracker.log_metrics(history[0], 1)
    tracker.log_metrics(history[2], 3)
    assert tracker.flush()
    tracker.log_history(history)
    tracker.finish()
    points = [(metric.step, metric.value) for metric in client.get_metric_history(tracker.run_id, "loss")]
    assert sorted(points) == [(1, 0.7), (2, 0.5), (3, 0.4)]
    run = Runs(Store(settings.store)).get("k")
    assert (run.state, run.epoch, run.metrics["loss"]) == ("finished", 3, 0.4)


@pytest.fixture
def away(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose MLflow server does not answer."""
    return settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9", "store": str(tmp_path / "store")})


def test_without_mlflow_a_run_is_whole_in_the_store_and_told_later(
    settings: Settings, away: Settings, client: MlflowClient, save: Callable[[int], tuple[Path, str]]
) -> None:
    folder, sha256 = save(1)
    signature = load_artifact(str(folder)).signature
    began_s = time.monotonic()
    tracker = Tracker(away, "away", "away-1", "train")
    tracker.log_params({"epochs": 2}, {"rayloop.snapshot": "abc"})
    tracker.log_text("environment.txt", "torch==2\n")
    tracker.log_history([{"loss": 0.7}, {"loss": 0.5}])
    assert tracker.run_id == ""
    with pytest.raises(Unavailable, match=r"run away-1 is trained and its model kept at .*: `rayloop resume away-1`"):
        tracker.log_model(folder, signature, sha256)
    assert time.monotonic() - began_s < 10
    runs = Runs(Store(away.store))
    run = runs.get("away-1")
    assert (run.state, run.metrics, run.sha256) == ("unregistered", {"loss": 0.5}, sha256)
    assert runs.text("away-1", "environment.txt") == "torch==2\n"
    kept = load_artifact(str(Path(away.store) / runs.model_folder("away-1")))
    assert kept.sha256 == sha256
    assert len(runs.undelivered("away-1")) == 4

    back = away.model_copy(update={"tracking_uri": settings.tracking_uri})
    again = Tracker(back, "away", "away-1", "train")
    again.log_params({"epochs": 2}, {})
    assert again.log_model(folder, signature, sha256)
    again.finish()
    assert runs.undelivered("away-1") == []
    found = client.get_run(again.run_id)
    assert (found.info.status, found.data.params, found.data.metrics) == ("FINISHED", {"epochs": "2"}, {"loss": 0.5})
    assert found.data.tags["rayloop.snapshot"] == "abc"


def test_a_failed_run_keeps_the_error_s_own_sentence(away: Settings) -> None:
    tracker = Tracker(away, "failed", "failed-1", "train")
    try:
        raise Conflict("the loss is NaN")
    except Conflict:
        tracker.finish("FAILED")
    run = Runs(Store(away.store)).get("failed-1")
    assert (run.state, run.error) == ("failed", "the loss is NaN")


def test_the_ray_job_around_the_process_is_remembered(away: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for job in ("job-1", "job-2"):
        monkeypatch.setenv(JOB_VARIABLE, json.dumps({"metadata": {"job_submission_id": job}}))
        Tracker(away, "jobs", "jobs-1", "train")
    monkeypatch.setenv(JOB_VARIABLE, "[]")
    Tracker(away, "jobs", "jobs-1", "train")
    assert Runs(Store(away.store)).get("jobs-1").jobs == ("job-1", "job-2")


@pytest.mark.parametrize("key", ["", "it's"])
def test_a_key_that_mlflow_could_not_look_for_is_refused(away: Settings, key: str) -> None:
    with pytest.raises(InvalidInput, match="must not be empty, nor hold a quote"):
        Tracker(away, "keys", key, "train")
