"""The table shows the best first, marks the winner, and counts what was spent."""

from __future__ import annotations

import math
from typing import Any

from rayloop.jobs.search.importance import Importance
from rayloop.jobs.search.objectives import Objective
from rayloop.jobs.search.table import best_trials, importance_line, outcome_line, trial_lines
from rayloop.jobs.search.trial import FAILED, STOPPED

AUC, SECONDS = Objective("auc"), Objective("wall_seconds")


def test_the_best_come_first_and_the_winner_is_marked(make_trial: Any) -> None:
    trials = [make_trial(n, [0.5 + n / 100]) for n in range(9)] + [make_trial(9, [], outcome=FAILED)]
    lines = trial_lines(trials, (AUC,), winner=8)
    assert len(lines) == 6
    assert lines[0].split() == ["trial", "auc", "epochs", "seconds", "ended", "settings"]
    assert lines[1].split()[:3] == ["*8", "0.5800", "1"]
    assert lines[1].endswith("learning_rate 0.01, kind plain")
    assert len({line.index("finished") for line in lines[1:]}) == 1


def test_of_several_objectives_it_shows_the_pareto_set(make_trial: Any) -> None:
    trials = [make_trial(0, [0.9], seconds=9), make_trial(1, [0.8], seconds=1), make_trial(2, [0.7], seconds=5)]
    assert [trial.number for trial in best_trials(trials, (AUC, SECONDS))] == [0, 1]


def test_what_was_spent(make_trial: Any) -> None:
    trials = [make_trial(0, [0.5] * 6), make_trial(1, [0.4] * 2, outcome=STOPPED)]
    assert outcome_line(trials, 6) == "2 trials: 1 finished, 1 stopped; 8 of 12 epochs, 16.0 CPU seconds"


def test_importances_in_a_line() -> None:
    found = [Importance("learning_rate", 0.8, 9), Importance("dropout", 0.2, 9), Importance("depth", math.nan, 2)]
    assert importance_line(found, AUC) == "importances for auc: learning_rate 80%, dropout 20%"
    assert importance_line([], AUC) == "importances for auc: too few trials, or they do not differ"
