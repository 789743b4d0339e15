"""Profiles add: any split of the rows, in any order and grouping, gives the same integers."""

import itertools
import math
import pickle
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Binning, ColumnProfile, Profile, fit_binnings, profile_table

REFERENCE = pa.table({"x": [0.0, 1.0, 2.0, None], "s": ["a", "b", None, "a"], "v": [[0.0], [2.0], None, [1.0]]})
BINNINGS = fit_binnings(REFERENCE)
NUMBERS = st.one_of(
    st.none(), st.floats(-1e6, 1e6), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e9, 5e-324])
)
ROW = st.tuples(
    NUMBERS,
    st.sampled_from(["a", "b", "new", "newer", None]),
    st.one_of(st.none(), st.lists(st.sampled_from([0.0, 1.0, -3.0, np.nan, np.inf]), min_size=1, max_size=1)),
)
Rows = list[tuple[float | None, str | None, list[float] | None]]


def profile_of(rows: Rows) -> Profile:
    x, s, v = zip(*rows, strict=True) if rows else ((), (), ())
    table = {"x": pa.array(x, pa.float64()), "s": pa.array(s, pa.string()), "v": pa.array(v, pa.list_(pa.float64()))}
    return profile_table(pa.table(table), BINNINGS, threads=1)


def integers(profile: Profile) -> dict[str, object]:
    return {
        name: (
            column.counts.tolist(),
            (column.nulls, column.nans, column.negative_infs, column.positive_infs, column.other),
            column.moments.count,
            (column.min, column.max),
            column.distinct.hashes_H.tolist(),
            (dict(column.unseen.counts), column.unseen.error, column.unseen.total),
            None if column.vectors is None else column.vectors.count,
        )
        for name, column in profile.columns.items()
    }


def is_close(one: float | None, other: float | None, scale: float) -> bool:
    assert one is not None
    assert other is not None
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9 * scale)


def check_moments(one: Profile, other: Profile) -> None:
    for name, column in one.columns.items():
        if not column.moments.count:
            continue
        assert column.min is not None
        assert column.max is not None
        scale = max(abs(column.min), abs(column.max), 1.0)
        assert is_close(column.mean, other.columns[name].mean, scale)
        assert is_close(column.m2, other.columns[name].m2, scale**2)
        assert is_close(column.below, other.columns[name].below, scale)
        assert is_close(column.above, other.columns[name].above, scale)


def in_pairs(profiles: list[Profile]) -> Profile:
    """Merge as a tree."""
    while len(profiles) > 1:
        profiles = [reduce(Profile.merge, profiles[place : place + 2]) for place in range(0, len(profiles), 2)]
    return profiles[0]


@given(st.lists(ROW, max_size=40), st.sampled_from([1, 2, 8]), st.randoms(use_true_random=False), st.data())
@settings(max_examples=60, deadline=None)
def test_any_split_order_and_grouping_gives_the_same_integers(
    rows: Rows, num: int, random: object, data: st.DataObject
) -> None:
    whole = profile_of(rows)
    owner = data.draw(st.lists(st.integers(0, num - 1), min_size=len(rows), max_size=len(rows)))
    parts = [[row for row, own in zip(rows, owner, strict=True) if own == part] for part in range(num)]
    for part in parts:
        random.shuffle(part)  # type: ignore[attr-defined]
    profiles = [profile_of(part) for part in parts]
    random.shuffle(profiles)  # type: ignore[attr-defined]
    for merged in (Profile.merge_all(profiles), in_pairs(profiles), reduce(lambda a, b: b.merge(a), profiles)):
        assert integers(merged) == integers(whole)
        assert merged.rows == whole.rows == len(rows)
        check_moments(merged, whole)


def test_a_large_table_splits_alike() -> None:
    rng = np.random.default_rng(0)
    x = rng.lognormal(sigma=3, size=30_000)
    x[::97] = np.nan
    table = pa.table(
        {"x": pa.array(x, mask=rng.random(30_000) < 0.05), "s": rng.integers(0, 5_000, 30_000).astype(str)}
    )
    binnings = fit_binnings(table.slice(0, 3_000))
    whole = profile_table(table, binnings)
    bounds = [0, 1, 2_049, 9_999, 10_000, 17_000, 29_000, 29_999, 30_000]
    parts = [profile_table(table.slice(a, b - a), binnings) for a, b in itertools.pairwise(bounds)]
    for order in (parts, parts[::-1]):
        merged = Profile.merge_all(order)
        check_moments(merged, whole)
        for name, column in whole.columns.items():
            assert merged.columns[name].counts.tolist() == column.counts.tolist()
            assert merged.columns[name].distinct == column.distinct
            assert merged.columns[name].unseen.total == column.unseen.total


def test_empty_is_neutral() -> None:
    rows: Rows = [(1.0, "a", [1.0]), (np.inf, None, None)]
    found, empty = profile_of(rows), Profile.empty(BINNINGS)
    assert empty.rows == 0
    assert integers(found.merge(empty)) == integers(empty.merge(found)) == integers(found)
    assert integers(empty) == integers(profile_of([]))
    assert empty.columns["x"].mean is None


def test_merge_refuses_other_bins() -> None:
    found = profile_of([(1.0, "a", None)])
    other = profile_table(REFERENCE, fit_binnings(pa.table({"x": [5.0], "s": ["a"], "v": [[1.0]]})))
    with pytest.raises(InvalidInput, match="different bins for column 'x'"):
        found.merge(other)
    with pytest.raises(InvalidInput, match="'s' is in only one"):
        found.merge(found.select(["x", "v"]))
    with pytest.raises(InvalidInput, match="same bins"):
        found.columns["x"].merge(other.columns["x"])
    with pytest.raises(InvalidInput, match="at least one"):
        Profile.merge_all([])


def test_select() -> None:
    assert list(profile_of([]).select(["s", "x"]).columns) == ["s", "x"]
    with pytest.raises(InvalidInput, match="no column 'z'; it has x, s, v"):
        profile_of([]).select(["z"])


def test_counts_must_fit_the_slots_and_the_rows() -> None:
    binning = Binning("string", categories=("a",))
    with pytest.raises(InvalidInput, match="slots"):
        ColumnProfile(binning, np.array([1, 2]))
    with pytest.raises(InvalidInput, match="negative"):
        ColumnProfile(binning, np.array([-1, 2, 0]))
    with pytest.raises(InvalidInput, match="column 's' has 1 rows, but the profile has 2"):
        Profile({"s": ColumnProfile(binning, np.array([1, 0, 0]))}, 2)


def test_pickle() -> None:
    found = profile_of([(0.1, "a", [1.0]), (None, "new", None)])
    assert integers(pickle.loads(pickle.dumps(found))) == integers(found)
