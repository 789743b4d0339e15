"""A distribution in a line of blocks."""

from __future__ import annotations

from rayloop.platform.report import sparkline, sparklines

from .conftest import Compared


def test_heights_are_blocks_and_what_is_not_zero_is_seen() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([1, 1_000_000]) == "▁█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
    assert sparkline([1, 9], highest=2) == "▄█"


def test_a_density_is_spread_over_the_axis() -> None:
    shape = {"draw": "density", "positions": [0.0, 0.5, 1.0], "reference": [10, 10], "window": [0, 20]}
    assert sparklines(shape, width=4) == ("▄▄▄▄", "  ██")


def test_a_small_window_is_drawn_as_high_as_a_large_reference() -> None:
    shape = {"draw": "values", "reference": [1_000, 1_000], "window": [1, 1]}
    assert sparklines(shape, width=3) == ("██ ", "██ ")
    assert sparklines({"draw": "values", "reference": [5], "window": [0]}, width=2) == ("█ ", "  ")


def test_a_shift_is_seen_in_real_ones(compared: Compared) -> None:
    drawn = compared.document()["distributions"]
    reference, window = sparklines(drawn["age"]["shape"])
    assert len(reference) == len(window) == 12
    assert reference.index("█") < window.index(max(window))
    assert all(len(line) == 12 for found in drawn.values() for line in sparklines(found["shape"]))
