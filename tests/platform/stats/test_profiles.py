"""Profiles add, survive JSON, and refuse what does not belong together."""

import itertools
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import ColumnProfile, Profile, fit_binnings, profile_table

REFERENCE = pa.table({"x": [0.0, 1.0, 2.0, None], "s": ["a", "b", None, "a"]})
BINNINGS = fit_binnings(REFERENCE)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(-1, 4), st.sampled_from([np.nan, np.inf, -np.inf])),
        st.sampled_from(["a", "b", "new", None]),
    ),
    max_size=20,
)


def profile_of(rows: list[tuple[float | None, str | None]]) -> Profile:
    x, s = zip(*rows, strict=True) if rows else ((), ())
    return profile_table(pa.table({"x": pa.array(x, pa.float64()), "s": pa.array(s, pa.string())}), BINNINGS)


def integers(profile: Profile) -> dict[str, object]:
    return {
        name: (column.counts, column.infs, column.moments.count, column.min, column.max)
        for name, column in profile.columns.items()
    }


@given(ROWS, ROWS, ROWS)
@settings(max_examples=60, deadline=None)
def test_any_split_and_order_gives_the_same_integers(a: list, b: list, c: list) -> None:
    whole = profile_of([*a, *b, *c])
    for order in itertools.permutations(map(profile_of, (a, b, c))):
        merged = Profile.merge_all(order)
        assert integers(merged) == integers(whole)
        assert merged.rows == whole.rows
    assert integers(profile_of(a).merge(profile_of(b).merge(profile_of(c)))) == integers(whole)


def test_empty_is_neutral() -> None:
    profile = profile_of([(1.0, "a"), (np.inf, None)])
    empty = Profile.empty(BINNINGS)
    assert empty.rows == 0
    assert profile.merge(empty) == empty.merge(profile) == profile
    assert empty == profile_of([])
    assert empty.columns["x"].mean is None


def test_merge_refuses_other_bins() -> None:
    profile = profile_of([(1.0, "a")])
    other = profile_table(REFERENCE, fit_binnings(pa.table({"x": [5.0], "s": ["a"]})))
    with pytest.raises(InvalidInput, match="different bins for column 'x'"):
        profile.merge(other)
    with pytest.raises(InvalidInput, match="'s' is in only one"):
        profile.merge(profile_table(REFERENCE, {"x": BINNINGS["x"]}))
    with pytest.raises(InvalidInput, match="same bins"):
        profile.columns["x"].merge(other.columns["x"])
    with pytest.raises(InvalidInput, match="at least one"):
        Profile.merge_all([])


def test_json_round_trip_is_exact_and_deterministic() -> None:
    profile = profile_of([(0.1, "a"), (1 / 3, "ü"), (None, None), (np.nan, "b"), (-np.inf, "b")])
    text = profile.to_json()
    assert Profile.from_json(text) == profile
    assert Profile.from_json(text.decode()).to_json() == text
    turned = Profile(dict(reversed(profile.columns.items())), profile.rows)
    assert turned.to_json() == text
    assert json.loads(text)["format"] == 1
    assert pickle.loads(pickle.dumps(profile)) == profile


def test_json_of_extremes() -> None:
    binnings = fit_binnings(pa.table({"x": [None, -1.7e308, 1.7e308, 5e-324], "none": [np.nan] * 4}))
    profile = profile_table(pa.table({"x": [1.7e308, -1.7e308, 1.7e308], "none": [None] * 3}), binnings)
    assert Profile.from_json(profile.to_json()) == profile
    assert Profile.from_json(Profile.empty(binnings).to_json()) == Profile.empty(binnings)


def broken(**changes: object) -> str:
    return json.dumps(json.loads(profile_of([(1.0, "a")]).to_json()) | changes)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", broken(format=2), broken(rows=2), broken(columns=3), broken(columns={"x": {}})],
)
def test_from_json_refuses(text: str) -> None:
    with pytest.raises(InvalidInput):
        Profile.from_json(text)


def test_counts_must_fit_the_slots() -> None:
    with pytest.raises(InvalidInput, match="slots"):
        ColumnProfile(BINNINGS["s"], (1, 2))
    with pytest.raises(InvalidInput, match="negative"):
        ColumnProfile(BINNINGS["s"], (-1, 2, 0, 0))
