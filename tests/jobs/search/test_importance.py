"""Importances find what mattered, and survive objectives and settings that never differ."""

from __future__ import annotations

import math
import random
from typing import Any

from rayloop.jobs.search.importance import importances
from rayloop.jobs.search.objectives import Objective
from rayloop.jobs.search.trial import DIVERGED

AUC = Objective("auc")


def trials(make_trial: Any, count: int, score: Any) -> list[Any]:
    draw = random.Random(1)
    found = []
    for number in range(count):
        settings: dict[str, Any] = {"learning_rate": 10 ** draw.uniform(-4, -1), "kind": draw.choice(["plain", "deep"])}
        if settings["kind"] == "deep":
            settings["depth"] = draw.randint(2, 4)
            if settings["depth"] > 2:
                settings["dropout"] = draw.uniform(0, 0.5)
        found.append(make_trial(number, [score(settings)], settings))
    return found


def test_what_decides_comes_first(make_trial: Any, make_search: Any) -> None:
    space = make_search().space
    found = importances(trials(make_trial, 60, lambda s: 1.0 if s["kind"] == "deep" else 0.2), space, AUC, seed=0)
    assert found[0].name == "kind"
    assert found[0].share > 0.9
    assert {one.name for one in found} == set(space)


def test_a_conditional_setting_is_compared_where_it_exists(make_trial: Any, make_search: Any) -> None:
    made = trials(make_trial, 120, lambda s: s.get("dropout", 0.25))
    found = {one.name: one for one in importances(made, make_search().space, AUC, seed=0)}
    assert found["dropout"].share > 0.8
    assert found["dropout"].trials == sum("dropout" in trial.settings for trial in made) < 120


def test_a_constant_objective_has_none(make_trial: Any, make_search: Any) -> None:
    found = importances(trials(make_trial, 20, lambda s: 0.5), make_search().space, AUC, seed=0)
    assert len(found) == 4
    assert all(math.isnan(one.share) for one in found)


def test_a_setting_that_never_changed_has_no_part(make_trial: Any, make_search: Any) -> None:
    space = make_search(space={"learning_rate": {"uniform": [0, 1]}, "width": {"choice": [8]}}).space
    made = [make_trial(n, [n / 10], {"learning_rate": n / 10, "width": 8}) for n in range(10)]
    found = {one.name: one.share for one in importances(made, space, AUC, seed=0)}
    assert found == {"learning_rate": 1.0, "width": 0.0}


def test_too_few_trials_say_nothing(make_trial: Any, make_search: Any) -> None:
    made = trials(make_trial, 3, lambda s: s["learning_rate"])
    made += [make_trial(9, [math.nan], made[0].settings, DIVERGED)]
    assert all(math.isnan(one.share) for one in importances(made, make_search().space, AUC, seed=0))
    assert all(math.isnan(one.share) for one in importances([], make_search().space, AUC, seed=0))
