"""Bins come from the reference, are distinct, single out frequent values, and cover everything."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Binning, fit_binnings, profile_table
from rayloop.platform.stats.binning import MAX_BINS, categorical_binning, numeric_binning

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)


def counts_of(values: list[float] | np.ndarray, binning: Binning) -> tuple[int, ...]:
    return profile_table(pa.table({"x": pa.array(values, pa.float64())}), {"x": binning}).columns["x"].counts


def test_few_distinct_values_get_a_bin_each() -> None:
    binning = numeric_binning(np.array([3.0, 1.0, 2.0, 2.0, -0.0]))
    assert binning.edges[1:] == (0.0, 1.0, 2.0, 3.0)
    assert counts_of([0.0, -0.0, 1.0, 2.0, 2.0, 2.5, 3.0, -0.1, 3.1], binning) == (1, 2, 1, 2, 2, 1, 0, 0)


def test_many_values_get_equal_bins() -> None:
    values = np.random.default_rng(1).permutation(MAX_BINS * 10).astype(float)
    binning = numeric_binning(values)
    assert counts_of(values, binning) == (0, *(10,) * MAX_BINS, 0, 0, 0)
    assert binning.edges[-1] == values.max()


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_frequent_value_has_a_bin_of_its_own(place: float) -> None:
    noise = np.random.default_rng(2).uniform(size=5_000)
    binning = numeric_binning(np.concatenate([noise, np.full(5_000, place)]))
    counts = np.array(counts_of(np.full(7, place), binning))
    assert counts.max() == 7
    assert counts_of(np.full(7, place - 1e-6), binning)[int(counts.argmax())] == 0
    assert binning.num_bins <= MAX_BINS


def test_bins_survive_a_trip_through_float32() -> None:
    values = np.repeat(np.array([0.1, 0.2, 0.3, 0.7]), 3)
    binning = numeric_binning(values)
    narrow = pa.table({"x": pa.array(values.astype(np.float32))})
    assert profile_table(narrow, {"x": binning}).columns["x"].counts == (0, 3, 3, 3, 3, 0, 0, 0)


def test_constant_and_valueless_references() -> None:
    assert counts_of([5.0, 4.0, 6.0, 6.0], numeric_binning(np.full(9, 5.0))) == (1, 1, 2, 0, 0)
    nothing = numeric_binning(np.array([np.nan, np.inf]))
    assert nothing.edges == (0.0,)
    assert counts_of([-1.0, 1.0, 2.0], nothing) == (1, 2, 0, 0)


@given(st.lists(ANY_FLOAT, max_size=40), st.lists(ANY_FLOAT, max_size=40), st.integers(1, 5))
@example([-np.finfo(np.float64).max, np.finfo(np.float64).max], [-np.inf, np.inf], 1)
@example([1e-40, 1e-40, 0.0, 2e-40], [0.0, -1e-40], 2)
@settings(max_examples=150, deadline=None)
def test_no_value_is_lost(reference: list[float], current: list[float], max_bins: int) -> None:
    binning = numeric_binning(np.array(reference, dtype=np.float64), max_bins)
    assert binning.num_bins <= max_bins
    assert sum(counts_of(current, binning)) == len(current)
    lowest_edge = -1.7e308
    if all(abs(value) < -lowest_edge for value in reference if np.isfinite(value)):
        counts = counts_of([value for value in reference if np.isfinite(value)], binning)
        assert binning.num_bins == 0 or counts[0] == counts[binning.num_bins + 1] == 0


def test_categories_by_count_then_name() -> None:
    column = pa.chunked_array([["b", "a", None], ["c", "c", "b", "a"]])
    assert categorical_binning(column).categories == ("a", "b", "c")
    assert categorical_binning(pa.array(["z", "y", "z", "x"]), max_categories=2).categories == ("z", "x")


def test_fit_takes_what_has_bins() -> None:
    table = pa.table({"n": [1, 2], "s": ["a", "b"], "flag": [True, False], "list": [[1], [2]]})
    binnings = fit_binnings(table)
    assert {name: binning.kind for name, binning in binnings.items()} == {
        "n": "numeric",
        "s": "categorical",
        "flag": "categorical",
    }
    assert binnings["flag"].categories == ("false", "true")
    assert list(fit_binnings(table, ["s"])) == ["s"]
    with pytest.raises(InvalidInput, match=r"'list' is list<.*>, but only"):
        fit_binnings(table, ["list"])
    with pytest.raises(InvalidInput, match="no column named 'missing'"):
        fit_binnings(table, ["missing"])


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "numeric"},
        {"kind": "numeric", "edges": (1.0, 1.0)},
        {"kind": "numeric", "edges": (0.0, np.inf)},
        {"kind": "numeric", "edges": (0.0,), "categories": ("a",)},
        {"kind": "categorical", "categories": ("a", "a")},
        {"kind": "categorical", "edges": (0.0,)},
        {"kind": "ordinal"},
    ],
)
def test_broken_binnings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Binning(**values)  # type: ignore[arg-type]
