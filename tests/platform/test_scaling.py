"""How many replicas are wanted under a load, and what a replica reports of its own: known answers."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rayloop.platform import scaling
from rayloop.platform.scaling import IDLE, IDLE_GRACE_S, ONGOING, Limits, Load, LoadMeter, decide

LIMITS = Limits(min_replicas=0, max_replicas=8, target_ongoing=8)
BUSY = Load(wanted=2, running=2, reporting=2, ongoing=16, queued=0, idle_s=0)


def test_the_example_holds() -> None:
    assert doctest.testmod(scaling).failed == 0


@pytest.mark.parametrize(
    ("ongoing", "queued", "wanted"),
    [
        (16, 0, 2),
        (17.5, 0, 2),  # within a tenth of the target
        (14.5, 0, 2),
        (17.7, 0, 3),
        (12, 12, 3),
        (40, 0, 5),
        (1_000, 0, 8),
        (8, 0, 1),
        (0.1, 0, 1),
        (0, 0, 1),  # somebody asked a moment ago
        (0, 3, 1),
    ],
)
def test_the_load_is_shared_out(ongoing: float, queued: float, wanted: int) -> None:
    scale = decide(replace(BUSY, ongoing=ongoing, queued=queued), LIMITS)
    assert scale.replicas == wanted
    assert scale.reason


def test_an_idle_version_needs_none_and_one_that_was_asked_just_now_one() -> None:
    idle = replace(BUSY, ongoing=0, idle_s=IDLE_GRACE_S)
    assert decide(idle, LIMITS).replicas == 0
    assert decide(replace(idle, idle_s=IDLE_GRACE_S - 0.1), LIMITS).replicas == 1
    assert decide(replace(idle, queued=0.2), LIMITS).replicas == 1
    kept = decide(idle, replace(LIMITS, min_replicas=2))
    assert (kept.replicas, "bounds are 2 and 8" in kept.reason) == (2, True)


def test_from_none_as_many_as_those_who_wait_need() -> None:
    none = Load(wanted=0, running=0, reporting=0, ongoing=0, queued=0, idle_s=0)
    assert decide(none, LIMITS).replicas == 0
    assert decide(replace(none, queued=1), LIMITS).replicas == 1
    assert decide(replace(none, queued=20), LIMITS).replicas == 3


def test_what_replicas_have_not_told_yet_takes_none_away() -> None:
    silent = replace(BUSY, reporting=1, ongoing=1)
    scale = decide(silent, LIMITS)
    assert (scale.replicas, scale.reason) == (2, "1 of 2 replicas have not told their load yet")
    assert decide(replace(silent, ongoing=40), LIMITS).replicas == 5  # what is known is enough to ask for more


@given(
    load=st.builds(
        Load,
        wanted=st.integers(0, 50),
        running=st.integers(0, 50),
        reporting=st.integers(0, 50),
        ongoing=st.floats(0, 1e6),
        queued=st.floats(0, 1e6),
        idle_s=st.floats(0, 1e6),
    ),
    low=st.integers(0, 20),
    more=st.integers(0, 20),
)
def test_the_bounds_hold_whatever_the_load_is(load: Load, low: int, more: int) -> None:
    limits = Limits(low, max(1, low + more), 8)
    assert limits.min_replicas <= decide(load, limits).replicas <= limits.max_replicas


@given(st.lists(st.floats(0, 500), min_size=2, max_size=2))
def test_more_load_never_wants_fewer(loads: list[float]) -> None:
    fewer, more = (decide(replace(BUSY, ongoing=load), LIMITS).replicas for load in sorted(loads))
    assert fewer <= more


def test_a_replica_reports_its_load_and_since_when_it_is_idle() -> None:
    meter = LoadMeter(now_s=100.0)
    assert meter.sample(ongoing=0, answered=0, now_s=103.0) == {ONGOING: 0.0, IDLE: 3.0}
    assert meter.sample(ongoing=4, answered=0, now_s=104.0) == {ONGOING: 4.0, IDLE: 0.0}
    assert meter.sample(ongoing=0, answered=4, now_s=105.0) == {ONGOING: 0.0, IDLE: 0.0}
    assert meter.sample(ongoing=0, answered=4, now_s=107.5) == {ONGOING: 0.0, IDLE: 2.5}
    # One that came and went between two samples.
    assert meter.sample(ongoing=0, answered=5, now_s=108.0) == {ONGOING: 0.0, IDLE: 0.0}
