"""A warm start takes what an earlier search of the same project measured in the same way, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rayloop.jobs.search.manifest import Manifest, searches, terms_of
from rayloop.jobs.search.objectives import objectives_of
from rayloop.jobs.search.trial import FAILED, RUNNING, STOPPED
from rayloop.jobs.search.warm_start import earlier_trials
from rayloop.platform.project import Project

SPACE = {"learning_rate": {"uniform": [0.0, 0.1]}}


@pytest.fixture
def project(make_toy: Any) -> Project:
    return make_toy.make(30, search={"space": SPACE, "warm_start": True}).project


def begin(manifest: Manifest, project: Project, known: Any, tmp_path: Any, **changed: Any) -> None:
    manifest.begin({**terms_of(project, known.snapshot, tmp_path), **changed})


def found(workspace: Any, project: Project, key: str = "now") -> list[float]:
    trials = earlier_trials(searches(workspace.store), project, objectives_of(project), key)
    return [trial.settings["learning_rate"] for trial in trials]


def accuracy(made: Any) -> Any:
    """The same trial, measured by accuracy, which is the toy's metric."""
    reports = tuple(replace(report, kept={"validation_accuracy": report.score}) for report in made.reports)
    return replace(made, reports=reports)


def test_ended_trials_in_the_space_are_taken(
    workspace: Any, project: Project, known: Any, make_trial: Any, tmp_path: Any
) -> None:
    first = Manifest(workspace.store, "first")
    begin(first, project, known, tmp_path)
    rates = {0: (0.01, "finished"), 1: (0.02, STOPPED), 2: (0.03, RUNNING), 3: (0.04, FAILED), 4: (0.5, "finished")}
    for number, (rate, outcome) in rates.items():
        first.save(accuracy(make_trial(number, [0.5], {"learning_rate": rate}, outcome)))
    begin(Manifest(workspace.store, "now"), project, known, tmp_path)
    assert found(workspace, project) == [0.01, 0.02]


@pytest.mark.parametrize(
    "changed", [{"name": "another"}, {"objectives": ["auc"]}, {"task": {"kind": "regression"}}, {"snapshot": "other"}]
)
def test_other_projects_tasks_and_measures_are_not(
    workspace: Any, project: Project, known: Any, make_trial: Any, tmp_path: Any, changed: dict[str, Any]
) -> None:
    first = Manifest(workspace.store, "first")
    begin(first, project, known, tmp_path, **changed)
    first.save(accuracy(make_trial(0, [0.5], {"learning_rate": 0.01})))
    assert found(workspace, project) == ([0.01] if "snapshot" in changed else [])


def test_later_searches_are_not_earlier_ones_also_after_a_restart(
    workspace: Any, project: Project, known: Any, make_trial: Any, tmp_path: Any
) -> None:
    for key in ("before", "now", "after"):
        manifest = Manifest(workspace.store, key)
        begin(manifest, project, known, tmp_path)
        manifest.save(accuracy(make_trial(0, [0.5], {"learning_rate": len(key) / 100})))
    assert found(workspace, project) == [0.06]
