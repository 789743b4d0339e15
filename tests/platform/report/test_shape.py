"""Two distributions on few bars: every row is in one of them or told apart, and no rare text is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.report import Shape, shape_of
from rayloop.platform.report.shape import MAX_BARS, MAX_NAMED, MAX_UNSEEN
from rayloop.platform.stats import Profile, profile

from .conftest import EVIL, Compared


def shape(reference: Any, window: Any, **options: Any) -> Shape:
    made = profile({"x": reference}, **options)
    return shape_of(made.columns["x"], profile({"x": window}, made).columns["x"])


def texts(*counted: tuple[str, int]) -> pa.Table:
    return pa.table({"x": [text for text, count in counted for _ in range(count)]})


def shape_of_tables(reference: pa.Table, window: pa.Table) -> Shape:
    made: Profile = profile(reference)
    return shape_of(made.columns["x"], profile(window, made).columns["x"])


def test_each_row_is_in_one_bar_or_apart(compared: Compared) -> None:
    for name, column in compared.reference.columns.items():
        found = shape_of(column, compared.window.columns[name])
        apart = list(found.apart.values())
        assert sum(found.reference) + sum(pair[0] for pair in apart) == 3_000, name
        assert sum(found.window) + sum(pair[1] for pair in apart) == 1_000, name
        assert len(found.reference) == len(found.window) <= MAX_BARS


@pytest.mark.parametrize("name", ["age", "income", "basket", "vector", EVIL])
def test_bars_of_numbers_lie_in_order_and_none_is_without_width(compared: Compared, name: str) -> None:
    found = shape_of(compared.reference.columns[name], compared.window.columns[name])
    assert found.draw == "density"
    assert len(found.edges) == len(found.positions) == len(found.reference) + 1
    assert (found.positions[0], found.positions[-1]) == (0.0, 1.0)
    assert min(np.diff(found.positions)) >= 0.9 / MAX_BARS
    assert (np.diff(found.edges) > 0).all()


finite = st.floats(-1e300, 1e300)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=400), st.lists(st.floats(width=64), max_size=50), st.booleans())
def test_any_numbers_have_a_shape(reference: list[float], window: list[float], exact: bool) -> None:
    found = shape(np.array(reference), np.array(window, np.float64), exact=exact)
    assert sum(found.reference) == len(reference)  # no value of the reference is under or over
    assert sum(found.window) + sum(pair[1] for pair in found.apart.values()) == len(window)
    assert len(found.reference) <= MAX_BARS
    if found.draw == "density":
        assert np.isfinite(found.positions).all()
        assert (np.diff(found.positions) > 0).all()


def test_a_bell_is_drawn_on_a_plain_axis_and_a_long_tail_on_a_stretched_one() -> None:
    random = np.random.default_rng(0)
    bell = random.normal(0, 1, 5_000)
    assert shape(bell, bell).is_stretched is False
    for tail in (random.lognormal(0, 3, 5_000), random.standard_cauchy(5_000), random.lognormal(0, 3, 5_000) - 1):
        found = shape(tail, tail)
        assert found.is_stretched
        assert max(found.reference) < 2_000  # on a plain axis one bar would hold over 4,900


def test_few_numbers_have_a_bar_each() -> None:
    found = shape(np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 3.0, 9.0, np.nan, np.inf, -np.inf, 0.0]))
    assert (found.draw, found.edges) == ("values", (1.0, 2.0, 5.0))
    assert (found.reference, found.window) == ((1, 2, 1), (0, 1, 1))
    assert found.apart == {"-inf": (0, 1), "under": (0, 1), "over": (0, 1), "+inf": (0, 1), "nan": (0, 1)}


def test_exact_bins_show_no_bar_for_what_lies_between() -> None:
    found = shape(np.array([1.0, 2.0, 5.0]), np.array([2.0]), exact=True)
    assert (found.edges, found.reference, found.window) == ((1.0, 2.0, 5.0), (1, 1, 1), (0, 1, 0))


def test_the_first_edge_is_the_lowest_value() -> None:
    spiked = np.concatenate([np.zeros(600), np.linspace(1, 100, 1_000)])
    assert shape(spiked, spiked).edges[0] == 0.0


def test_a_column_without_values_has_no_bars() -> None:
    nulls = pa.table({"x": pa.nulls(3, pa.float64())})
    found = shape_of_tables(nulls, pa.table({"x": pa.array([1.0, None])}))
    assert (found.reference, found.window) == ((), ())
    assert found.apart == {"over": (0, 1), "null": (3, 1)}


def test_dates_of_one_day_keep_their_seconds() -> None:
    times = 1.79e9 + np.linspace(0, 3_600, 5_000)
    assert (np.diff(shape(times, times).edges) > 60).all()


def test_texts_are_named_by_both_sides_and_the_rest_is_counted() -> None:
    many = [(f"c{number:02}", 100 - number) for number in range(30)]
    found = shape_of_tables(texts(*many), texts(("c29", 500), ("new", 40), ("once", 1)))
    assert len(found.labels) == MAX_NAMED
    assert found.labels[0] == "c00"
    assert "c29" in found.labels  # rare in the reference, and most of the window
    assert found.apart["other"] == (0, 41)
    assert found.apart["rest"][0] == sum(count for _, count in many) - sum(found.reference)
    assert found.unseen == {"new": 40}


def test_a_text_of_few_rows_is_never_named(compared: Compared) -> None:
    found = shape_of(compared.reference.columns["user"], compared.window.columns["user"])
    assert (found.labels, found.unseen) == ((), {})
    assert found.apart == {"rest": (1_000, 0), "other": (2_000, 1_000)}


def test_so_many_unseen_texts_are_named_and_long_ones_are_cut() -> None:
    new = [(str(number) * 500, 10 + number) for number in range(9)]
    found = shape_of_tables(texts(("a" * 500, 9)), texts(*new))
    assert list(found.unseen.values()) == [18, 17, 16, 15, 14]
    assert len(found.unseen) == MAX_UNSEEN
    assert {len(text) for text in (*found.labels, *found.unseen)} == {80}
