"""A canary is promoted, rolled back, watched or left to a person, by counts and time alone."""

from __future__ import annotations

import numpy as np
import pytest
from rayloop.platform.project.schema import CanaryConfig
from rayloop.platform.rollout import ArmCounts, decide

CONFIG = CanaryConfig(min_requests=100, max_error_increase=0.05, deadline_s=600)


@pytest.mark.parametrize(
    ("champion", "challenger", "waited_s", "action"),
    [
        ((0, 0), (0, 0), 0, "watch"),
        ((0, 0), (0, 0), 599.9, "watch"),
        ((0, 0), (0, 0), 600, "inconclusive"),
        ((1000, 0), (300, 0), 10, "promote"),
        ((1000, 0), (99, 0), 10, "watch"),
        ((0, 0), (300, 0), 10, "promote"),
        ((1000, 0), (300, 30), 10, "roll_back"),
        ((1000, 0), (10, 10), 10, "roll_back"),
        ((0, 0), (300, 300), 10, "watch"),
        ((0, 0), (300, 300), 600, "inconclusive"),
        ((1000, 500), (300, 150), 10, "watch"),
        ((100_000, 50_000), (30_000, 15_000), 10, "promote"),
        ((100_000, 50_000), (30_000, 16_000), 10, "roll_back"),
        ((1000, 300), (1000, 0), 10, "promote"),
        ((1000, 0), (300, 0), 900, "promote"),
        ((1000, 0), (300, 60), 900, "roll_back"),
    ],
)
def test_a_decision(champion: tuple[int, int], challenger: tuple[int, int], waited_s: float, action: str) -> None:
    decision = decide(ArmCounts(*champion), ArmCounts(*challenger), waited_s, CONFIG)
    assert decision.action == action
    assert f"{challenger[1]} errors in {challenger[0]} answers" in decision.reason


def test_each_decision_says_why() -> None:
    sound, young = ArmCounts(1000, 0), ArmCounts(50, 0)
    reasons = [
        decide(sound, ArmCounts(300, 30), 0, CONFIG).reason,
        decide(sound, ArmCounts(300, 0), 0, CONFIG).reason,
        decide(sound, young, 0, CONFIG).reason,
        decide(sound, young, 700, CONFIG).reason,
    ]
    assert "an error share of at least 0.0" in reasons[0]
    assert "the champion's is at most 0.0" in reasons[0]
    assert "more errors than the champion, 0.05 allowed" in reasons[1]
    assert "more errors than the champion are possible still" in reasons[2]
    assert reasons[3] == "0 errors in 50 answers after 700 s decide nothing; a person must"


def test_more_is_allowed_by_a_wider_margin() -> None:
    counts = ArmCounts(10_000, 100), ArmCounts(400, 8)
    narrow, wide = (CONFIG.model_copy(update={"max_error_increase": margin}) for margin in (0.01, 0.2))
    assert decide(*counts, 0, narrow).action == "watch"
    assert decide(*counts, 0, wide).action == "promote"


def test_as_many_answers_as_asked_are_enough() -> None:
    config = CONFIG.model_copy(update={"max_error_increase": 0.5, "min_requests": 100})
    actions = [decide(ArmCounts(1000, 0), ArmCounts(answers, 0), 0, config).action for answers in (99, 100)]
    assert actions == ["watch", "promote"]


def first_decision(champion_share: float, challenger_share: float, seed: int) -> str:
    """Look after every ten answers of the challenger, which has a tenth of the traffic."""
    rng = np.random.default_rng(seed)
    errors = (rng.uniform(size=3_000) < challenger_share).cumsum()
    champion_errors = (rng.uniform(size=30_000) < champion_share).cumsum()
    for answers in range(10, 3_001, 10):
        champion = ArmCounts(answers * 9, int(champion_errors[answers * 9 - 1]))
        decision = decide(champion, ArmCounts(answers, int(errors[answers - 1])), 0, CONFIG)
        if decision.action != "watch":
            return decision.action
    return "watch"


def test_an_equal_challenger_is_promoted_and_hardly_ever_rolled_back() -> None:
    actions = [first_decision(0.02, 0.02, seed) for seed in range(40)]
    assert actions.count("roll_back") <= 4
    assert actions.count("promote") >= 36


def test_a_bad_challenger_is_rolled_back_and_hardly_ever_promoted() -> None:
    actions = [first_decision(0.01, 0.12, seed) for seed in range(40)]
    assert actions.count("promote") <= 4
    assert actions.count("roll_back") >= 36
