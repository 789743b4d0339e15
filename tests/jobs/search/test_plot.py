"""The page is well-formed, loads nothing, draws every trial, and survives odd ones."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from rayloop.jobs.search.importance import Importance
from rayloop.jobs.search.objectives import Objective
from rayloop.jobs.search.plot import page
from rayloop.jobs.search.trial import DIVERGED, RUNNING, STOPPED, Trial

AUC, SECONDS = Objective("auc"), Objective("wall_seconds")


def drawings(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_every_trial_is_drawn_and_nothing_is_loaded(make_trial: Any) -> None:
    trials = [
        make_trial(0, [0.6, 0.7]),
        make_trial(1, [0.8], outcome=STOPPED),
        make_trial(2, [math.nan], outcome=DIVERGED, why="the loss is <NaN>"),
    ]
    mattered = {"auc": [Importance("learning_rate", 0.75, 3), Importance("dropout", math.nan, 0)]}
    html = page("toy & co", trials, (AUC, SECONDS), mattered, winner=0)
    found = drawings(html)
    assert len(found) == 4
    circles, crosses = found[0].findall("circle"), found[0].findall("path")[1:]
    assert (len(circles), len(crosses)) == (2, 1)
    assert "learning_rate 0.01" in str(circles[0].findtext("title"))
    assert len(found[1].findall("polyline")) == 3
    assert len(found[3].findall("rect")) == 2
    assert not re.search(r"https?://|<script|<link|src=", html)
    assert "the loss is &lt;NaN&gt;" in html
    assert "toy &amp; co" in html


@pytest.mark.parametrize("scores", [[], [[0.5], [0.5]], [[math.nan]]])
def test_no_trials_or_constant_ones_make_a_page_too(make_trial: Any, scores: list[list[float]]) -> None:
    trials: list[Trial] = [make_trial(number, one) for number, one in enumerate(scores)]
    trials += [make_trial(len(trials), [], outcome=RUNNING)]
    html = page("toy", trials, (AUC,), {"auc": []}, winner=None)
    assert len(drawings(html)) == 3
    assert "nan" not in re.sub(r"<table.*", "", html, flags=re.DOTALL)


def test_all_points_lie_inside(make_trial: Any) -> None:
    trials = [make_trial(number, [0.1 * number, 0.2 * number]) for number in range(1, 6)]
    for drawing in drawings(page("toy", trials, (AUC,), {}, 4)):
        for circle in drawing.iter("circle"):
            assert 0 <= float(circle.get("cx", "nan")) <= float(drawing.get("width", "nan"))
            assert 0 <= float(circle.get("cy", "nan")) <= float(drawing.get("height", "nan"))
