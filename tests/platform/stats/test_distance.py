"""Distances have the known answers, ranges and limits that their docstrings state."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import (
    fit_binnings,
    hellinger,
    jensen_shannon,
    kl_divergence,
    ks_statistic,
    l_infinity,
    profile_table,
    psi,
    total_variation,
)
from rayloop.platform.stats.columns import numeric_values
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp

DATA = Path(__file__).parents[3].parent / "shared" / "data"
DISTANCES = [psi, kl_divergence, jensen_shannon, hellinger, total_variation, l_infinity, ks_statistic]
COUNTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8).filter(
    lambda pairs: any(a for a, _ in pairs) and any(b for _, b in pairs)
)


def test_psi_by_hand() -> None:
    expected = 0.1 * math.log(0.3 / 0.2) + 0.1 * math.log(0.3 / 0.2) + (-0.2) * math.log(0.4 / 0.6)
    assert psi([20, 20, 60], [3, 3, 4], pseudo_count=0) == pytest.approx(expected, abs=1e-12)


def test_psi_adds_half_a_row_to_bins_that_a_side_fills() -> None:
    p, q = [8.5 / 11, 2.5 / 11], [0.5 / 5, 4.5 / 5]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert psi([8, 0, 2, 0], [0, 0, 4, 0]) == pytest.approx(expected, abs=1e-12)
    assert psi([8, 0], [4, 4], pseudo_count=0) == math.inf
    assert psi([4, 4], [8, 0], pseudo_count=0) == math.inf


def test_psi_is_jeffreys() -> None:
    ref, cur = [5, 10, 85], [30, 30, 40]
    assert psi(ref, cur) == pytest.approx(kl_divergence(ref, cur) + kl_divergence(cur, ref), abs=1e-12)


def test_kl_is_of_the_current_from_the_reference() -> None:
    ref, cur = np.array([5, 10, 85]), np.array([30, 30, 40])
    assert kl_divergence(ref, cur, pseudo_count=0) == pytest.approx(entropy(cur, ref), abs=1e-12)
    assert kl_divergence([5, 5], [10, 0], pseudo_count=0) == pytest.approx(math.log(2), abs=1e-12)
    assert kl_divergence([10, 0], [5, 5], pseudo_count=0) == math.inf


@given(COUNTS)
@settings(max_examples=100, deadline=None)
def test_against_scipy_and_definitions(pairs: list[tuple[int, int]]) -> None:
    ref, cur = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    # A root of rounding: scipy's own distance of equal vectors may be 1e-8 instead of 0.
    assert jensen_shannon(ref, cur) == pytest.approx(jensenshannon(ref, cur, base=2), abs=1e-7)
    p, q = ref / ref.sum(), cur / cur.sum()
    assert hellinger(ref, cur) == pytest.approx(math.sqrt(max(1 - np.sqrt(p * q).sum(), 0)), abs=1e-7)
    assert l_infinity(ref, cur) == pytest.approx(abs(p - q).max())
    assert total_variation(ref, cur) == pytest.approx(abs(ref / ref.sum() - cur / cur.sum()).sum() / 2)
    places = np.arange(len(ref))
    # Each row twice, since scipy divides by zero for one row against one.
    raw = ks_2samp(*(np.repeat(places, 2 * side.astype(int)) for side in (ref, cur)), method="asymp")
    assert ks_statistic(ref, cur) == pytest.approx(raw.statistic, abs=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_zero_for_equal_and_for_constant(distance: Callable[..., float]) -> None:
    assert distance([1, 2, 3], [2, 4, 6]) == pytest.approx(0, abs=0.05)
    assert distance([1, 2, 3], [1, 2, 3]) == 0
    assert distance([0, 9, 0], [0, 4, 0]) == 0


@pytest.mark.parametrize("distance", [jensen_shannon, hellinger, total_variation, l_infinity, ks_statistic])
def test_one_for_nothing_shared(distance: Callable[..., float]) -> None:
    assert distance([0, 9, 0], [0, 0, 4]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    "pair",
    [([1, 2], [1, 2, 3]), ([0, 0], [1, 1]), ([1, 1], [0, 0]), ([1, -1], [1, 1]), ([], []), ([[1]], [[1]])],
)
def test_refuses_what_is_no_pair_of_counts(distance: Callable[..., float], pair: tuple[list, list]) -> None:
    with pytest.raises(InvalidInput):
        distance(*pair)


def real(path: str) -> pa.Table:
    if not (DATA / path).exists():
        pytest.skip(f"the real data set {path} is not beside this checkout")
    return pq.read_table(DATA / path)


def assert_ks_as_on_raw_values(reference: pa.Table, current: pa.Table, min_columns: int) -> dict[str, float]:
    binnings = {name: one for name, one in fit_binnings(reference).items() if one.kind == "numeric"}
    before, after = profile_table(reference, binnings), profile_table(current, binnings)
    found = {}
    for name, binning in binnings.items():
        raw_N, raw_M = (
            numeric_values(table.column(name).combine_chunks().drop_null()) for table in (reference, current)
        )
        exact = ks_2samp(raw_N[~np.isnan(raw_N)], raw_M[~np.isnan(raw_M)], method="asymp").statistic
        found[name] = ks_statistic(before.columns[name].value_counts, after.columns[name].value_counts)
        assert exact - 1 / 256 <= found[name] <= exact + 1e-12, name
        if binning.num_bins < 50:
            assert found[name] == pytest.approx(exact, abs=1e-12), name
    assert len(found) >= min_columns
    return found


def test_ks_on_wines() -> None:
    table = real("wine_quality/wine_quality.parquet")
    is_red = pc.equal(table["color"], "red")
    found = assert_ks_as_on_raw_values(table.filter(is_red), table.filter(pc.invert(is_red)), 12)
    assert found["chlorides"] == pytest.approx(0.827, abs=5e-4)


def test_ks_on_electricity() -> None:
    table = real("electricity/electricity.parquet")
    found = assert_ks_as_on_raw_values(table.slice(0, 17_424), table.slice(17_424), 9)
    assert found["transfer"] == pytest.approx(0.7650, abs=1e-4)
    assert found["vicprice"] == pytest.approx(0.7102, abs=1e-4)


def test_ks_on_flights() -> None:
    table = real("nycflights13/flights.parquet").slice(0, 60_000)
    assert_ks_as_on_raw_values(table.slice(0, 20_000), table.slice(20_000), 10)
