"""One pass over a table counts every row once, whatever its batches, types and array module."""

import array_api_strict
import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.stats import fit_binnings, numeric_profile, profile_table, scan

REFERENCE = pa.table({"x": [0.0, 1.0, 2.0], "s": ["a", "b", "a"], "flag": [True, False, None]})
BINNINGS = fit_binnings(REFERENCE)


def test_every_special_value_is_counted_in_its_place() -> None:
    x = [None, np.nan, np.nan, np.inf, -np.inf, -np.inf, 0.0, 0.5, 2.0, 7.0, -7.0, None]
    s = ["a", None, "new", "newer", "b", "", "a", "a", None, "A", "b", "new"]
    flag = [True, None] * 6
    profile = profile_table(pa.table({"x": x, "s": s, "flag": flag}), BINNINGS)
    column = profile.columns["x"]
    assert column.counts == (3, 1, 1, 1, 2, 2, 2)
    assert (column.nulls, column.nans, column.infs, column.count) == (2, 2, 3, 12)
    assert (column.min, column.max, column.mean, column.m2) == (-7.0, 7.0, 0.5, 101.0)
    assert column.std == pytest.approx(np.std([0, 0.5, 2, 7, -7], ddof=1))
    assert profile.columns["s"].counts == (3, 2, 5, 2)
    assert profile.columns["s"].nulls == 2
    assert profile.columns["s"].nans == 0
    assert profile.columns["flag"].counts == (0, 6, 0, 6)
    assert profile.rows == 12


def test_batches_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.integers(-1, 4, 100).astype(float), "s": rng.choice(["a", "b", "z"], 100)})
    binnings = {name: BINNINGS[name] for name in ("x", "s")}
    whole = profile_table(table, binnings)
    monkeypatch.setattr(scan, "HOST_BATCH_ROWS", 7)
    chunked = pa.concat_tables([table.slice(0, 3), table.slice(3, 60), table.slice(63)])
    for other in (table, chunked, table.combine_chunks().to_batches()[0]):
        profile = profile_table(other, binnings)
        assert {n: c.counts for n, c in profile.columns.items()} == {n: c.counts for n, c in whole.columns.items()}
        assert profile.columns["x"].m2 == pytest.approx(whole.columns["x"].m2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_array_modules_agree(dtype: type) -> None:
    rng = np.random.default_rng(0)
    binning = fit_binnings(pa.table({"x": rng.normal(size=5_000)}))["x"]
    values_N = rng.normal(size=3_000).astype(dtype)
    values_N[::50], values_N[1::70], values_N[2::90] = np.nan, np.inf, -np.inf
    here = numeric_profile(values_N, binning, nulls=3)
    strict = numeric_profile(array_api_strict.asarray(values_N), binning, nulls=3)
    assert (here.counts, here.infs, here.min, here.max) == (
        strict.counts,
        strict.infs,
        strict.min,
        strict.max,
    )
    assert here.count == 3_003
    assert here.mean == pytest.approx(strict.mean, rel=1e-12)


def test_dictionary_with_unused_entries() -> None:
    column = pa.DictionaryArray.from_arrays([0, None, 2], ["a", "unused", "new"])
    profile = profile_table(pa.table({"s": column}), {"s": BINNINGS["s"]})
    assert profile.columns["s"].counts == (1, 0, 1, 1)


def test_a_column_of_nothing_but_nulls_fits_any_bins() -> None:
    profile = profile_table(pa.table({"x": pa.nulls(4), "s": pa.nulls(4), "flag": pa.nulls(4)}), BINNINGS)
    assert [column.nulls for column in profile.columns.values()] == [4, 4, 4]


def test_missing_twice_and_unfit_columns_are_named() -> None:
    with pytest.raises(InvalidInput, match="no column named 'x'"):
        profile_table(REFERENCE.drop_columns("x"), BINNINGS)
    twice = pa.table([[0.0], [1.0]], names=["x", "x"])
    with pytest.raises(InvalidInput, match="2 columns named 'x'"):
        profile_table(twice, {"x": BINNINGS["x"]})
    with pytest.raises(InvalidInput, match="column 'x' is string, but its numeric bins need a number or a time"):
        profile_table(pa.table({"x": ["1"]}), {"x": BINNINGS["x"]})
    with pytest.raises(InvalidInput, match="column 's' is int64, but its categorical bins need a string"):
        profile_table(pa.table({"s": [1]}), {"s": BINNINGS["s"]})


def test_gpu_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(Unavailable):
        profile_table(REFERENCE, BINNINGS, prefer="gpu")
