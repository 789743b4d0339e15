"""A trial comes back from JSON as it was, sums its cost, and has a score only where it ended well."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from rayloop.jobs.search.trial import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED, Taken, Trial


def test_it_comes_back_from_json(make_trial: Any) -> None:
    trial = replace(make_trial(3), taken=(Taken(2, 1, {"learning_rate": 0.5}),), why="a reason", checkpoint="/there")
    assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


def test_a_score_that_is_no_number_travels_as_null(make_trial: Any) -> None:
    written = json.dumps(make_trial(0, [math.nan]).to_dict())
    assert "NaN" not in written
    found = Trial.from_dict(json.loads(written))
    assert math.isnan(found.score)
    assert math.isnan(found.reports[0].kept["validation_auc"])


@pytest.mark.parametrize(
    ("outcome", "scores", "has_score"),
    [
        (FINISHED, [0.5], True),
        (STOPPED, [0.5], True),
        (RUNNING, [0.5], False),
        (DIVERGED, [0.5], False),
        (FAILED, [], False),
        (FINISHED, [math.nan], False),
    ],
)
def test_only_what_ended_well_has_a_score(make_trial: Any, outcome: str, scores: list[float], has_score: bool) -> None:
    assert make_trial(0, scores, outcome=outcome).has_score is has_score


def test_costs_are_summed_over_reports(make_trial: Any) -> None:
    trial = make_trial(0, [0.1, 0.2, 0.3], seconds=1.5)
    assert (trial.cost("wall_seconds"), trial.cost("cpu_seconds"), trial.epochs) == (4.5, 6.0, 3)
