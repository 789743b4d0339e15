"""Schedulers judge by what they saw, also before a restart; bad reports end a trial; a population stays in bounds."""

from __future__ import annotations

import math
import pickle
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers.pbt import _explore
from rayloop.jobs.search.board import CONFIG, Board
from rayloop.jobs.search.manifest import Manifest
from rayloop.jobs.search.objectives import Objective
from rayloop.jobs.search.schedulers import Failures, Watched, scheduler_of
from rayloop.jobs.search.trial import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED
from rayloop.platform.data import Store

AUC = Objective("auc")
EPOCHS = 9


@dataclass
class RayTrial:
    """What a scheduler reads of Ray's trial."""

    number: int
    trial_id: str
    config: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def __post_init__(self) -> None:
        self.config = {CONFIG: {"number": self.number}}
        self.storage = SimpleNamespace(trial_fs_path=f"/ray/{self.trial_id}")

    def get_error(self) -> str:
        return self.error


class Stage:
    """Trials that report scores to a scheduler, as Ray would let them."""

    def __init__(self, manifest: Manifest, search: Any, make_result: Any, attempt: int = 0) -> None:
        self.board = Board(manifest, manifest.trials(), EPOCHS, lambda trial: None)
        self.scheduler = scheduler_of(search, self.board, AUC, EPOCHS)
        self._make_result, self._attempt = make_result, attempt
        self._trials: dict[int, RayTrial] = {}

    def report(self, number: int, epoch: int, score: float, **given: Any) -> str:
        if number not in self._trials:
            if number not in [trial.number for trial in self.board.trials]:
                self.board.start(number, {"learning_rate": 0.1})
            self._trials[number] = RayTrial(number, f"{self._attempt}-{number}")
            self.scheduler.on_trial_add(None, self._trials[number])
        result = self._make_result(epoch, score, checkpoint_dir_name=f"checkpoint_{epoch:06}", **given)
        return self.scheduler.on_trial_result(None, self._trials[number], result)

    def trial(self, number: int) -> RayTrial:
        return self._trials[number]


@pytest.fixture
def stage(manifest: Manifest, make_search: Any, make_result: Any) -> Any:
    return lambda **given: Stage(manifest, make_search(grace_epochs=1, **given), make_result)


def test_asha_stops_the_weak_at_a_rung_and_nobody_between(stage: Any) -> None:
    at = stage(scheduler="asha", reduction=3)
    assert [at.report(n, 1, score) for n, score in enumerate([0.9, 0.8, 0.95, 0.1])] == [
        "CONTINUE",
        "STOP",
        "CONTINUE",
        "STOP",
    ]
    assert at.report(0, 2, 0.0) == "CONTINUE"  # no rung
    assert at.board[1].outcome == STOPPED
    assert at.board[0].outcome == RUNNING
    assert at.board[0].checkpoint == "/ray/0-0/checkpoint_000002"


def test_the_last_epoch_finishes_a_trial_whatever_its_score(stage: Any) -> None:
    for name in ("asha", "median", "none"):
        at = stage(scheduler=name)
        assert at.report(0, EPOCHS, 0.1) == "STOP"
        assert at.board[0].outcome == FINISHED


def test_none_stops_nobody(stage: Any) -> None:
    at = stage(scheduler="none")
    assert {at.report(n, e, 1.0 / (n + 1)) for n in range(6) for e in range(1, EPOCHS)} == {"CONTINUE"}


def test_median_stops_what_is_below_the_others(stage: Any) -> None:
    at = stage(scheduler="median")
    for number in range(3):
        for epoch in (1, 2, 3):
            assert at.report(number, epoch, 0.8) == "CONTINUE"
    assert at.report(3, 1, 0.5) == "STOP"
    assert at.report(4, 1, 0.9) == "CONTINUE"


@pytest.mark.parametrize("name", ["asha", "median"])
@pytest.mark.parametrize("cut", [5, 17, 30])
def test_a_restart_changes_no_verdict(make_search: Any, make_result: Any, tmp_path: Any, name: str, cut: int) -> None:
    """The same reports with a new scheduler, board and Ray's trials in the middle are judged alike."""
    search = make_search(scheduler=name, grace_epochs=1, reduction=3)
    draw = random.Random(5)
    scores = {(n, e): draw.random() * 0.2 + 0.1 * n for n in range(8) for e in range(1, EPOCHS + 1)}
    order = sorted(scores, key=lambda key: (key[1] + key[0] / 3, key[0]))
    verdicts = []
    for cuts in ([], [cut]):
        manifest = Manifest(Store(str(tmp_path / f"{name}-{cut}-{len(cuts)}")), "key")
        at, seen = Stage(manifest, search, make_result), []
        ended: set[int] = set()
        for place, (number, epoch) in enumerate(order):
            if place in cuts:
                at = Stage(manifest, search, make_result, attempt=1)
            if number not in ended:
                verdict = at.report(number, epoch, scores[number, epoch])
                seen.append((number, epoch, verdict))
                ended |= {number} if verdict == "STOP" else set()
        verdicts.append(seen)
    assert verdicts[0] == verdicts[1]
    assert {verdict for _, _, verdict in verdicts[0]} == {"STOP", "CONTINUE"}


@pytest.mark.parametrize("name", ["asha", "median", "none", "pbt"])
def test_a_trial_that_says_that_it_ended_is_stopped_and_marked(stage: Any, name: str) -> None:
    at = stage(scheduler=name)
    if name == "pbt":
        at.scheduler._numbers["0-0"] = 0
        at.board.start(0, {})
        result = {"ended": DIVERGED, "why": "NaN in epoch 1", "epoch": 0, "score": math.nan, "current": math.nan}
        assert at.scheduler.on_trial_result(None, RayTrial(0, "0-0"), result) == "STOP"
    else:
        assert at.report(0, 0, math.nan, ended=DIVERGED, why="NaN in epoch 1") == "STOP"
    assert (at.board[0].outcome, at.board[0].why) == (DIVERGED, "NaN in epoch 1")


def test_a_process_that_died_too_often_leaves_its_last_words(stage: Any) -> None:
    at = stage(scheduler="asha")
    at.report(0, 1, 0.5)
    at.trial(0).error = "Traceback\n  File x\nActorDiedError: the worker died\n"
    at.scheduler.on_trial_error(None, at.trial(0))  # Ray starts another
    at.scheduler.on_trial_add(None, at.trial(0))
    assert at.board[0].outcome == RUNNING
    assert at.report(0, 2, 0.6) == "CONTINUE"
    Failures(at.scheduler).on_trial_error(iteration=1, trials=[], trial=at.trial(0))
    assert (at.board[0].outcome, at.board[0].why) == (FAILED, "ActorDiedError: the worker died")


def test_ray_pickles_schedulers_without_the_board(stage: Any) -> None:
    for name in ("asha", "pbt"):
        scheduler = stage(scheduler=name).scheduler
        assert len(pickle.dumps(scheduler)) + len(pickle.dumps(Failures(scheduler))) < 500
    assert isinstance(pickle.loads(pickle.dumps(stage(scheduler="asha").scheduler)), Watched)


def test_a_population_explores_within_bounds_and_changes_nothing_else(stage: Any) -> None:
    at = stage(scheduler="pbt", trials=4)
    settings = {"learning_rate": 0.09, "kind": "plain"}
    config = {CONFIG: {"number": 1, "settings": settings, "checkpoint": "/c"}}
    scheduler = at.scheduler
    random.seed(0)
    found = []
    for _ in range(60):
        new, _ = _explore(
            config,
            scheduler._hyperparam_mutations,
            scheduler._resample_probability,
            scheduler._perturbation_factors,
            scheduler._custom_explore_fn,
        )
        given = new[CONFIG]
        assert (given["number"], given["checkpoint"], given["settings"]["kind"]) == (1, "/c", "plain")
        found.append(given["settings"]["learning_rate"])
    assert all(1e-4 <= rate <= 1e-1 for rate in found)
    assert 0.1 in found  # 0.09 * 1.2, held at the bound
    assert any(rate == pytest.approx(0.09 * 0.8) for rate in found)
    assert config[CONFIG]["settings"] == settings
