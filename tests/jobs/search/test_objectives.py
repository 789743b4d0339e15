"""Objectives: their direction, the Pareto set against a slow definition, and the rule for the winner."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from rayloop.jobs.search.objectives import Objective, pareto, winner
from rayloop.jobs.search.trial import FAILED

AUC, SECONDS = Objective("auc"), Objective("wall_seconds")


def test_directions() -> None:
    found = {name: Objective(name).mode for name in ("auc", "accuracy", "r2", "rmse", "log_loss", "gpu_seconds")}
    assert found == {
        "auc": "max",
        "accuracy": "max",
        "r2": "max",
        "rmse": "min",
        "log_loss": "min",
        "gpu_seconds": "min",
    }


def test_the_pareto_set_is_what_no_other_beats(make_trial: Any) -> None:
    trials = [
        make_trial(0, [0.90], seconds=10),
        make_trial(1, [0.80], seconds=2),
        make_trial(2, [0.85], seconds=12),  # 0 is better and cheaper
        make_trial(3, [0.80], seconds=3),  # 1 is as good and cheaper
        make_trial(4, [0.95], seconds=20),
        make_trial(5, [0.99], seconds=1, outcome=FAILED),
        make_trial(6, [math.nan], seconds=1),
    ]
    assert [trial.number for trial in pareto(trials, (AUC, SECONDS))] == [4, 0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_same_as_by_the_definition(make_trial: Any, seed: int) -> None:
    draw = random.Random(seed)
    trials = [make_trial(n, [draw.randint(0, 4) / 4], seconds=draw.randint(1, 5)) for n in range(25)]
    points = {trial.number: (-trial.score, trial.cost("wall_seconds")) for trial in trials}

    def is_beaten(mine: tuple[float, float]) -> bool:
        return any(other != mine and other[0] <= mine[0] and other[1] <= mine[1] for other in points.values())

    expected = {number for number, point in points.items() if not is_beaten(point)}
    assert {trial.number for trial in pareto(trials, (AUC, SECONDS))} == expected


@pytest.mark.parametrize(("tolerance", "number"), [(0, 2), (0.011, 1), (0.5, 0)])
def test_the_winner_gives_up_as_much_as_the_tolerance(make_trial: Any, tolerance: float, number: int) -> None:
    trials = [make_trial(0, [0.80], seconds=1), make_trial(1, [0.94], seconds=5), make_trial(2, [0.95], seconds=9)]
    found = winner(trials, (AUC, SECONDS), tolerance)
    assert found is not None
    assert found.number == number


def test_of_one_objective_the_best_wins_and_of_equals_the_first(make_trial: Any) -> None:
    trials = [make_trial(0, [0.9]), make_trial(1, [0.95]), make_trial(2, [0.95])]
    found = winner(trials, (AUC,), 0)
    assert found is not None
    assert found.number == 1


def test_nobody_wins_where_nobody_has_weights(make_trial: Any) -> None:
    assert winner([make_trial(0, outcome=FAILED)], (AUC,), 0) is None
