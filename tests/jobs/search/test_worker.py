"""A trial trains as a training does, takes over another's state with its own settings, and reports its own faults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray.tune
import torch
from rayloop.jobs.search import worker
from rayloop.jobs.search.board import CONFIG
from rayloop.jobs.search.run import shared_of
from rayloop.jobs.search.worker import plan_of, run_trial, with_plan
from rayloop.jobs.training.data import part_tables
from rayloop.jobs.training.loop import Plan
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import Project

Reports = list[dict[str, Any]]


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reports:
    """What Ray Tune would be told; checkpoints are kept as `state` in each report."""
    told: Reports = []

    def report(metrics: Mapping[str, Any], checkpoint: Any = None) -> None:
        state = None if checkpoint is None else worker.read_state(checkpoint)
        told.append({**metrics, "state": state})

    monkeypatch.setattr(ray.tune, "report", report)
    monkeypatch.setattr(ray.tune, "get_checkpoint", lambda: None)
    monkeypatch.chdir(tmp_path)
    return told


def shared(workspace: Any, known: Any, **sections: Any) -> dict[str, Any]:
    project = Project.model_validate({**known.project.model_dump(by_alias=True), **sections})
    return shared_of(workspace, project, known.snapshot, epochs=3)


def config(checkpoint: str = "", **settings: Any) -> dict[str, Any]:
    return {CONFIG: {"number": 0, "settings": settings, "checkpoint": checkpoint}}


def saved(state: Mapping[str, Any], folder: Path) -> str:
    folder.mkdir()
    torch.save(dict(state), folder / worker.STATE_FILE)
    return str(folder)


def test_it_reports_each_epoch_with_score_cost_and_checkpoint(workspace: Any, known: Any, reports: Reports) -> None:
    run_trial(config(learning_rate=0.01), shared(workspace, known))
    assert [report["epoch"] for report in reports] == [1, 2, 3]
    scores = [report["score"] for report in reports]
    assert scores == [max(report["current"] for report in reports[: n + 1]) for n in range(3)]
    for report in reports:
        assert report["kept"]["validation_accuracy"] == report["score"]
        assert report["wall_seconds"] > 0
        assert report["cpu_seconds"] >= 0
        assert report["gpu_seconds"] == 0
        assert report["state"]["epoch"] == report["epoch"]


def test_the_first_objective_chooses_the_best_epoch(workspace: Any, known: Any, reports: Reports) -> None:
    given = shared(workspace, known, search={"objectives": ["log_loss", "cpu_seconds"]})
    run_trial(config(), given)
    losses = [report["metrics"]["validation_log_loss"] for report in reports]
    assert [report["score"] for report in reports] == [min(losses[: n + 1]) for n in range(3)]


def test_it_goes_on_from_a_checkpoint_bit_for_bit(workspace: Any, known: Any, reports: Reports, tmp_path: Path) -> None:
    given = shared(workspace, known)
    run_trial(config(learning_rate=0.01), given)
    whole = list(reports)
    reports.clear()
    run_trial(config(saved(whole[0]["state"], tmp_path / "c1"), learning_rate=0.01), given)
    assert [report["epoch"] for report in reports] == [2, 3]
    assert reports[-1]["metrics"] == whole[-1]["metrics"]
    for name, tensor in whole[-1]["state"]["module"].items():
        assert torch.equal(reports[-1]["state"]["module"][name], tensor)


def test_another_trials_state_is_trained_with_its_own_settings(
    workspace: Any, known: Any, reports: Reports, tmp_path: Path
) -> None:
    given = shared(workspace, known)
    run_trial(config(learning_rate=0.01, weight_decay=0.1), given)
    first = reports[0]["state"]
    checkpoint = saved(first, tmp_path / "c1")
    ends = {}
    for rate in (0.01, 0.5, 1e-12):
        reports.clear()
        run_trial(config(checkpoint, learning_rate=rate, weight_decay=0.0), given)
        state = reports[0]["state"]
        assert {group["lr"] for group in state["optimizer"]["param_groups"]} == {rate}
        assert {group["weight_decay"] for group in state["optimizer"]["param_groups"]} == {0.0}
        ends[rate] = max(
            float((state["module"][name] - tensor).abs().max())
            for name, tensor in first["module"].items()
            if tensor.is_floating_point() and tensor.numel()
        )
    assert ends[1e-12] < 1e-8 < ends[0.01] < ends[0.5]


def test_with_plan_changes_the_optimizers_settings_alone(make_toy: Any) -> None:
    toy = make_toy.make(40)
    training = toy.training()
    training.run_epoch(toy.rows)
    state = training.state()
    plan = Plan.of(toy.project, {"learning_rate": 0.3})
    found = with_plan(state, plan)
    assert found["optimizer"]["state"] is state["optimizer"]["state"]
    assert [group["lr"] for group in state["optimizer"]["param_groups"]] == [0.02]
    assert [group["lr"] for group in found["optimizer"]["param_groups"]] == [0.3]
    assert {key: value for key, value in found.items() if key != "optimizer"} == {
        key: value for key, value in state.items() if key != "optimizer"
    }


def test_a_loss_that_is_no_number_is_a_report(workspace: Any, known: Any, reports: Reports) -> None:
    run_trial(config(learning_rate=1e30), shared(workspace, known))
    last = reports[-1]
    assert last["ended"] == "diverged"
    assert last["why"].startswith("the loss is NaN or infinite in epoch 1")
    assert math.isnan(last["score"])


def test_a_fault_of_the_task_is_a_report_and_not_tried_again(workspace: Any, known: Any, reports: Reports) -> None:
    run_trial(config(hidden="wide"), shared(workspace, known))
    assert [report["ended"] for report in reports] == ["failed"]
    assert reports[0]["why"]
    assert "\n" not in reports[0]["why"]


def test_a_store_that_is_away_is_raised_so_that_ray_tries_again(
    workspace: Any, known: Any, reports: Reports, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="gone"):
        run_trial(config(str(tmp_path / "gone")), shared(workspace, known))
    assert reports == []


def test_the_plan_is_the_projects_with_the_trials_settings(workspace: Any, known: Any) -> None:
    given = shared(workspace, known)
    plan = plan_of(known.project, given, {"learning_rate": 0.3, "dropout": 0.4})
    assert (plan.epochs, plan.learning_rate, plan.metric) == (3, 0.3, "accuracy")
    assert plan.params == {**known.project.task.params, "dropout": 0.4}


def test_classes_count_as_the_project_says(workspace: Any, known: Any, reports: Reports) -> None:
    """A trial trains with the weights that `rayloop train` would, and its plan says so."""
    balanced = shared(workspace, known, train={"epochs": 4, "batch_size": 16, "class_weights": "balanced"})
    target = part_tables(known.snapshot, known.project)["train"].column("y").to_numpy()
    wanted = tuple(len(target) / (2 * (target == label).sum()) for label in (0, 1))
    project = Project.model_validate_json(balanced["project"])
    assert plan_of(project, balanced, {}).weights_by_class == pytest.approx(wanted)
    assert wanted[0] != wanted[1]
    losses = []
    for given in (balanced, {**balanced, "weights_by_class": []}):
        reports.clear()
        run_trial(config(), given)
        losses.append([report["metrics"]["train_loss"] for report in reports])
    assert losses[0][0] != losses[1][0]


def test_rows_that_no_trial_could_train_on_are_refused_before_any(workspace: Any, known: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^train.batch_size is 1000, but there are \d+ rows to train on: lower it$"):
        shared(workspace, known, train={"batch_size": 1000})
    searched = {"space": {"batch_size": {"choice": [8, 16]}}}
    assert shared(workspace, known, train={"batch_size": 1000}, search=searched)["epochs"] == 3
