"""Which models may run on the event loop: quick ones, once they have proved it, and no longer than they are."""

from __future__ import annotations

import pytest
from rayloop.serve.pace import QUICK_NS, SLOW_NS, Pace


def seen(*took_ns: int) -> Pace:
    pace = Pace()
    for each in took_ns:
        pace.saw(each)
    return pace


def test_an_unknown_model_is_slow() -> None:
    assert not Pace().is_quick


@pytest.mark.parametrize(("took_ns", "is_quick"), [(QUICK_NS // 2, True), (2 * QUICK_NS, False), (5 * 10**9, False)])
def test_a_model_is_what_it_keeps_being(took_ns: int, is_quick: bool) -> None:
    assert seen(*[took_ns] * 60).is_quick is is_quick


def test_one_pause_is_forgiven_and_one_standstill_is_not() -> None:
    quick = [100_000] * 60
    assert seen(*quick, SLOW_NS // 2).is_quick
    assert not seen(*quick, SLOW_NS + 1).is_quick
    assert not seen(*quick, 10**9, *[100_000] * 20).is_quick
    assert seen(*quick, 10**9, *[100_000] * 80).is_quick
