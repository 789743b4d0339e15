"""Bins come from the reference, are distinct, single out frequent values, and cover everything."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Binning, fit_binning, fit_binnings, profile, profile_table
from rayloop.platform.stats.binning import MAX_BINS
from rayloop.platform.stats.fitting import SAMPLE_ROWS, categorical_binning, numeric_binning

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)


def counts_of(values: list[float] | np.ndarray, binning: Binning) -> list[int]:
    """-inf, under, the bins, over, +inf, null, NaN."""
    table = pa.table({"x": pa.array(values, pa.float64())})
    return profile_table(table, {"x": binning}).columns["x"].counts.tolist()


def test_few_distinct_values_get_a_bin_each() -> None:
    binning = numeric_binning(np.array([3.0, 1.0, 2.0, 2.0, -0.0]))
    assert binning.edges[1:] == (0.0, 1.0, 2.0, 3.0)
    assert binning.is_discrete
    values = [0.0, -0.0, 1.0, 2.0, 2.0, 2.5, 3.0, -0.1, 3.1]
    assert counts_of(values, binning) == [0, 1, 2, 1, 2, 2, 1, 0, 0, 0]


def test_many_values_get_equal_bins() -> None:
    values = np.random.default_rng(1).permutation(MAX_BINS * 10).astype(float)
    binning = numeric_binning(values)
    assert counts_of(values, binning) == [0, 0, *(10,) * MAX_BINS, 0, 0, 0, 0]
    assert binning.edges[-1] == values.max()
    assert not binning.is_discrete


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_frequent_value_has_a_bin_of_its_own(place: float) -> None:
    noise = np.random.default_rng(2).uniform(size=5_000)
    binning = numeric_binning(np.concatenate([noise, np.full(5_000, place)]))
    counts = np.array(counts_of(np.full(7, place), binning))
    assert counts.max() == 7
    assert counts_of(np.full(7, place - 1e-6), binning)[int(counts.argmax())] == 0
    assert binning.num_bins <= 2 * MAX_BINS


def test_bins_survive_a_trip_through_float32() -> None:
    values = np.repeat(np.array([0.1, 0.2, 0.3, 0.7]), 3)
    narrow = profile({"x": values.astype(np.float32)}, profile({"x": values}))
    assert narrow.columns["x"].counts.tolist() == [0, 0, 3, 3, 3, 3, 0, 0, 0, 0]


def test_constant_and_valueless_references() -> None:
    assert counts_of([5.0, 4.0, 6.0, 6.0], numeric_binning(np.full(9, 5.0))) == [0, 1, 1, 2, 0, 0, 0]
    nothing = numeric_binning(np.array([np.nan, np.inf]))
    assert nothing.edges == (0.0,)
    assert counts_of([-1.0, 1.0, 2.0, np.inf], nothing) == [0, 1, 2, 1, 0, 0]


@given(st.lists(ANY_FLOAT, max_size=40), st.lists(ANY_FLOAT, max_size=40), st.integers(1, 5))
@example([-np.finfo(np.float64).max, np.finfo(np.float64).max], [-np.inf, np.inf], 1)
@example([1e-40, 1e-40, 0.0, 2e-40], [0.0, -1e-40], 2)
@settings(max_examples=150, deadline=None)
def test_no_value_is_lost(reference: list[float], current: list[float], max_bins: int) -> None:
    binning = numeric_binning(np.array(reference, dtype=np.float64), max_bins=max_bins)
    assert binning.num_bins <= 2 * max_bins
    assert sum(counts_of(current, binning)) == len(current)
    finite = [value for value in reference if np.isfinite(value)]
    if all(abs(value) < 1.7e308 for value in finite):
        counts = counts_of(finite, binning)
        assert binning.num_bins == 0 or counts[1] == counts[-4] == 0


def test_a_large_reference_is_sampled_and_still_lies_within_its_bins() -> None:
    values = np.random.default_rng(3).normal(size=2 * SAMPLE_ROWS)
    values[[1, 3, 5, 7]] = [-9e9, 9e9, np.inf, -np.inf]  # rows that no step of two meets
    for dtype in (np.float64, np.float32):
        reference = profile({"x": values.astype(dtype)}).columns["x"]
        assert reference.counts[[0, 1, -4, -3]].tolist() == [1, 0, 0, 1]
        assert reference.counts.max() < 2 * len(values) / 256
    halves = profile({"x": np.clip(values, -6e4, 6e4).astype(np.float16)}).columns["x"]
    assert halves.counts[[0, 1, -4, -3]].tolist() == [0, 0, 0, 0]


def test_exact_bins_take_every_row_and_not_too_many_values() -> None:
    values = np.zeros(2 * SAMPLE_ROWS)
    values[[1, 3]] = [1.0, 2.0]
    binning = profile({"x": values}, exact=True).columns["x"].binning
    assert {0.0, 1.0, 2.0} < set(binning.edges)
    between = profile({"x": np.array([0.5, 1.0])}, {"x": binning}).columns["x"]
    assert between.counts.max() == 1
    with pytest.raises(InvalidInput, match="column 'x': the reference has 20000 different values"):
        profile({"x": np.arange(20_000.0)}, exact=True)


def test_categories_by_count_then_name() -> None:
    column = pa.chunked_array([["b", "a", None], ["c", "c", "b", "a"]])
    assert categorical_binning(column).categories == ("a", "b", "c")
    assert categorical_binning(pa.array(["z", "y", "z", "x"]), max_categories=2).categories == ("z", "x")
    assert categorical_binning(pa.array(["b", "a", "c", "c", "b", "a", "c"])).categories == ("c", "a", "b")


def test_fit_takes_what_has_bins() -> None:
    table = pa.table(
        {
            "n": [1, 2],
            "s": ["a", "b"],
            "flag": [True, False],
            "v": [[1.0, 2.0], [3.0, 4.0]],
            "t": pa.array([1, 2], pa.timestamp("us", "UTC")),
            "words": [["a"], ["b"]],
            "nothing": pa.nulls(2),
        }
    )
    binnings = fit_binnings(table)
    assert {name: binning.type for name, binning in binnings.items()} == {
        "n": "integral",
        "s": "string",
        "flag": "boolean",
        "v": "vector",
        "t": "zoned timestamp",
    }
    assert binnings["flag"].categories == ("false", "true")
    assert binnings["v"].basis is not None
    assert binnings["v"].basis.centre == (2.0, 3.0)
    assert list(fit_binnings(table, ["s"])) == ["s"]
    with pytest.raises(InvalidInput, match=r"'words' is list<.*>, but only"):
        fit_binnings(table, ["words"])
    with pytest.raises(InvalidInput, match="no column named 'missing'"):
        fit_binnings(table, ["missing"])


def test_lists_that_are_no_vectors_are_named_where_wanted_and_else_left_out() -> None:
    table = pa.table({"x": [1.0, 2.0], "v": [[1.0], [1.0, 2.0]], "none": pa.nulls(2, pa.list_(pa.float64()))})
    assert list(fit_binnings(table)) == ["x"]
    with pytest.raises(InvalidInput, match="column 'v': a vector has 2 numbers"):
        fit_binnings(table, ["v"])
    with pytest.raises(InvalidInput, match="column 'none': a column of vectors holds only nulls"):
        fit_binnings(table, ["none"])


def test_chunks_of_the_reference_change_nothing() -> None:
    values = np.random.default_rng(4).normal(size=SAMPLE_ROWS + 10_000)
    chunked = pa.chunked_array([values[:3], values[3:140_000], values[140_000:]])
    assert fit_binning(chunked) == fit_binning(pa.chunked_array([values]))
