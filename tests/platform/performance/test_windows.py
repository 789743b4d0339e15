"""Windows lie side by side, at the same places at each look, and the first ones of a version are found."""

from __future__ import annotations

import numpy as np
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.performance.first_windows import choose_first, first_capture_s
from rayloop.platform.performance.join import Joined
from rayloop.platform.performance.windows import Grid, lay_windows
from rayloop.platform.traffic.captured import Window

from .conftest import NAME, NOON_S, World


def test_windows_without_a_beginning_are_the_same_at_each_look() -> None:
    grid, numbers = lay_windows(None, NOON_S + 61, 60.0, default=3)
    assert [grid.window(number) for number in numbers] == [
        Window(NOON_S - 60, NOON_S),
        Window(NOON_S, NOON_S + 60),
        Window(NOON_S + 60, NOON_S + 120),
    ]
    assert lay_windows(None, NOON_S + 119, 60.0, default=3) == (grid, numbers)


def test_windows_from_a_beginning_cover_all_of_the_span() -> None:
    grid, numbers = lay_windows(NOON_S + 7, NOON_S + 127.5, 60.0, default=24)
    assert list(numbers) == [0, 1, 2]
    assert grid.window(2) == Window(NOON_S + 127, NOON_S + 187)


@pytest.mark.parametrize(
    ("since_s", "until_s", "fault"),
    [(10.0, 10.0, "--until 10 must lie after --since 10"), (0.0, 60_061.0, "1002 windows of 1 minutes are asked")],
)
def test_windows_that_make_no_sense(since_s: float, until_s: float, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault):
        lay_windows(since_s, until_s, 60.0, 24)


def test_a_moment_has_one_window() -> None:
    grid = Grid(NOON_S, 60.0)
    at_us = np.array([NOON_S * 1e6 - 1, NOON_S * 1e6, NOON_S * 1e6 + 59_999_999, NOON_S * 1e6 + 60_000_000])
    assert grid.numbers_of(at_us.astype(np.int64)).tolist() == [-1, 0, 0, 1]
    assert [grid.number_of(at) for at in (NOON_S - 0.5, NOON_S, NOON_S + 60)] == [-1, 0, 1]


def test_the_first_capture_of_a_version_is_that_of_a_client(world: World) -> None:
    def first(version: int) -> float | None:
        return first_capture_s(world.store.filesystem, world.store.path(""), NAME, version)

    assert first(1) is None
    world.capture([NOON_S - 5 * 86_400], [1], ["s"], variant="shadow")
    assert first(1) is None
    world.capture([NOON_S + 90_000], [1], ["b"], name="two")
    world.capture([NOON_S + 7, NOON_S + 3], [1, 1], ["a", "c"], name="three")
    assert (first(1), first(2)) == (NOON_S + 3, None)


def test_the_first_windows_are_those_that_hold_enough_labels() -> None:
    joined = {number: Joined(predictions=900, labelled=900) for number in range(5)}
    assert choose_first(range(5), joined, min_rows=50) == [0, 1, 2]
    assert choose_first(range(5), joined, min_rows=4_000) == [0, 1, 2, 3, 4]
    assert choose_first(range(5), joined, min_rows=5_000) == []
    assert choose_first(range(0), joined, min_rows=1) == []
