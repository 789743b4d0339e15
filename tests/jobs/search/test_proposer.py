"""The proposer draws only what the space contains, learns from values, repeats nothing after a restart."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from rayloop.jobs.search.objectives import Objective
from rayloop.jobs.search.proposer import LEAST_SOURCE_TRIALS, Proposer
from rayloop.jobs.search.trial import DIVERGED, RUNNING, STOPPED, Taken, Trial
from rayloop.platform.project.space import contains

AUC, SECONDS = Objective("auc"), Objective("wall_seconds")
TWO = {"x": {"uniform": [-5.0, 5.0]}, "y": {"uniform": [-5.0, 5.0]}}


def bowl(settings: dict[str, Any]) -> float:
    """Greatest, 0, at (2, -1)."""
    return -((settings["x"] - 2) ** 2) - (settings["y"] + 1) ** 2


def run(proposer: Proposer, make_trial: Any, first: int, until: int) -> list[Trial]:
    found = []
    for number in range(first, until):
        settings = proposer.ask(number)
        assert settings is not None
        trial = make_trial(number, [bowl(settings)], settings)
        proposer.tell(trial)
        found.append(trial)
    return found


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_every_proposal_lies_in_the_space(make_search: Any, make_trial: Any, searcher: str) -> None:
    search = make_search(searcher=searcher)
    proposer = Proposer(search, (AUC,), seed=0)
    seen: set[str] = set()
    for number in range(40):
        settings = proposer.ask(number)
        assert settings is not None
        assert contains(search.space, settings), settings
        seen |= set(settings)
        proposer.tell(make_trial(number, [random.Random(number).random()], settings))
    assert seen == set(search.space)
    assert proposer.num_told == 40


def test_choices_may_be_lists(make_search: Any, make_trial: Any) -> None:
    choices = [[64], [64, 32], "wide", None, True]
    search = make_search(space={"hidden": {"choice": choices}})
    proposer = Proposer(search, (AUC,), seed=1)
    drawn = []
    for number in range(30):
        settings = proposer.ask(number)
        assert settings is not None
        proposer.tell(make_trial(number, [0.5], settings))
        drawn.append(settings["hidden"])
    assert all(choice in drawn for choice in choices)


@pytest.mark.parametrize("searcher", ["tpe", "cma-es"])
def test_it_learns(make_search: Any, make_trial: Any, searcher: str) -> None:
    trials = run(Proposer(make_search(searcher=searcher, space=TWO), (AUC,), seed=3), make_trial, 0, 80)
    late = sum(trial.score for trial in trials[-20:]) / 20
    early = sum(trial.score for trial in trials[:20]) / 20
    assert late > early / 3
    assert max(trial.score for trial in trials) > -1


def test_the_same_seed_proposes_the_same(make_search: Any, make_trial: Any) -> None:
    search = make_search(space=TWO)
    first, second = (run(Proposer(search, (AUC,), seed=7), make_trial, 0, 15) for _ in range(2))
    assert first == second
    assert run(Proposer(search, (AUC,), seed=8), make_trial, 0, 15) != first


def test_after_a_restart_it_knows_the_past_and_does_not_propose_it_again(make_search: Any, make_trial: Any) -> None:
    search = make_search(space=TWO)
    past = run(Proposer(search, (AUC,), seed=7), make_trial, 0, 5)
    again = Proposer(search, (AUC,), seed=7, past=past)
    assert again.num_told == 5
    new = run(again, make_trial, 5, 10)
    assert not {trial.settings["x"] for trial in past} & {trial.settings["x"] for trial in new}


def test_a_trial_that_was_cut_off_is_told_when_it_ends(make_search: Any, make_trial: Any) -> None:
    search = make_search(space=TWO)
    cut_off = make_trial(0, [0.1], {"x": 1.0, "y": 1.0}, outcome=RUNNING)
    proposer = Proposer(search, (AUC,), seed=0, past=[cut_off])
    assert proposer.num_told == 0
    proposer.tell(make_trial(0, [0.1, 0.2], {"x": 1.0, "y": 1.0}))
    assert proposer.num_told == 1


def test_what_diverged_is_told_as_failed_and_what_was_stopped_as_pruned(make_search: Any, make_trial: Any) -> None:
    proposer = Proposer(make_search(space=TWO), (AUC,), seed=0)
    for number, (outcome, scores) in enumerate([(DIVERGED, [math.nan]), (STOPPED, [0.2]), ("finished", [0.3])]):
        settings = proposer.ask(number)
        proposer.tell(make_trial(number, scores, settings, outcome))
    states = [trial.state.name for trial in proposer._study.trials]
    assert states == ["FAIL", "PRUNED", "COMPLETE"]
    assert proposer._study.trials[1].intermediate_values == {1: 0.2}


def test_a_score_on_anothers_weights_teaches_nothing(make_search: Any, make_trial: Any) -> None:
    proposer = Proposer(make_search(space=TWO), (AUC,), seed=0)
    trial = make_trial(0, [0.9], proposer.ask(0), taken=(Taken(1, 1, {}),))
    proposer.tell(trial)
    assert proposer.num_told == 0
    assert Proposer(make_search(space=TWO), (AUC,), seed=0, past=[trial]).num_told == 0


def test_a_grid_is_walked_to_its_end_and_after_a_restart_only_what_is_left(make_search: Any, make_trial: Any) -> None:
    space = {"a": {"choice": [1, 2]}, "b": {"int": [0, 1]}}
    search = make_search(searcher="grid", space=space)
    proposer = Proposer(search, (AUC,), seed=0)
    points = [proposer.ask(number) for number in range(5)]
    assert not proposer.has_more
    assert points == [{"a": 1, "b": 0}, {"a": 1, "b": 1}, {"a": 2, "b": 0}, {"a": 2, "b": 1}, None]
    past = [make_trial(0, [0.1], points[0]), make_trial(1, [], points[1], outcome=RUNNING)]
    again = Proposer(search, (AUC,), seed=0, past=past)
    assert again.has_more
    assert [again.ask(number) for number in (2, 3, 4)] == [*points[2:4], None]


def test_several_objectives_have_as_many_values(make_search: Any, make_trial: Any) -> None:
    proposer = Proposer(make_search(space=TWO), (AUC, SECONDS), seed=0)
    settings = proposer.ask(0)
    proposer.tell(make_trial(0, [0.4], settings, STOPPED, seconds=3))
    assert proposer._study.trials[0].values == [0.4, 3.0]
    assert [direction.name for direction in proposer._study.directions] == ["MAXIMIZE", "MINIMIZE"]


@pytest.mark.parametrize("searcher", ["tpe", "cma-es"])
def test_a_warm_start_begins_near_what_was_good(make_search: Any, make_trial: Any, searcher: str) -> None:
    search = make_search(searcher=searcher, space=TWO)
    draw = random.Random(0)
    points = [{"x": draw.uniform(-5, 5), "y": draw.uniform(-5, 5)} for _ in range(60)]
    warm = [make_trial(number, [bowl(point)], point) for number, point in enumerate(points)]
    assert len(warm) >= LEAST_SOURCE_TRIALS
    cold = run(Proposer(search, (AUC,), seed=1), make_trial, 0, 8)
    warmed = run(Proposer(search, (AUC,), seed=1, warm=warm), make_trial, 0, 8)
    assert sum(t.score for t in warmed) > sum(t.score for t in cold)


def test_cma_es_goes_on_where_the_past_has_choices_and_conditions(make_search: Any, make_trial: Any) -> None:
    space = {**TWO, "kind": {"choice": ["a", "b"]}, "depth": {"int": [1, 3], "when": {"kind": "b"}}}
    search = make_search(searcher="cma-es", space=space)
    past = [make_trial(n, [n / 20], {"x": n / 10, "y": 0.0, "kind": "a"}) for n in range(12)]
    proposer = Proposer(search, (AUC,), seed=0, past=past)
    for number in range(12, 20):
        settings = proposer.ask(number)
        assert settings is not None
        assert contains(search.space, settings)
        proposer.tell(make_trial(number, [0.1], settings))
