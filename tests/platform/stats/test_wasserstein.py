"""Wasserstein-1 and KS of two profiles are those of the raw values, and chance makes of it what is stated."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.stats import Binning, ColumnProfile, profile, wasserstein
from rayloop.platform.stats.measures import measure
from rayloop.platform.stats.wasserstein import normed, wasserstein_null
from scipy.stats import ks_2samp, wasserstein_distance

DATA = Path(__file__).parents[3].parent / "shared" / "data"
FILES = (
    "adult/adult",
    "bike_sharing/hour",
    "california_housing/housing",
    "california_housing/nannyml_california",
    "covertype/covertype_first20k",
    "electricity/electricity",
    "german_credit/german",
    "noaa_weather/noaa_weather",
    "nycflights13/flights",
    "nycflights13/weather",
    "wine_quality/wine_quality",
)
MOST_ROWS = 40_000
TOLERANCE = 1 / 256


def pair(reference: object, current: object, **options: bool) -> tuple[ColumnProfile, ColumnProfile]:
    known = profile({"x": np.asarray(reference, dtype=float)}, **options)
    return known.columns["x"], profile({"x": np.asarray(current, dtype=float)}, known).columns["x"]


def test_by_hand() -> None:
    assert wasserstein(*pair([0, 1, 3], [5, 6, 8])) == pytest.approx(5, abs=1e-6)
    assert wasserstein(*pair([1, 2], [1, 2])) == 0.0
    # A quarter of the rows from 1 to 4, beyond the last edge.
    assert wasserstein(*pair([1, 1, 1, 1], [1, 1, 1, 4])) == pytest.approx(0.75)
    # And below the first.
    assert wasserstein(*pair([1, 1, 1, 1], [1, 1, 1, -2])) == pytest.approx(0.75, abs=1e-5)


def test_a_bin_that_the_gap_crosses() -> None:
    binning = Binning("fractional", edges=(0.0, 1.0, 2.0, 3.0))
    # Cumulative 0.5, 0.5, 1 against 0.25, 1, 1: the gap goes from -0.25 to 0.5 in the second bin.
    ref = ColumnProfile(binning, np.array([0, 0, 4, 0, 4, 0, 0, 0, 0]))
    cur = ColumnProfile(binning, np.array([0, 0, 2, 6, 0, 0, 0, 0, 0]))
    assert wasserstein(ref, cur) == pytest.approx(0.125 + (0.25**2 + 0.5**2) / (2 * 0.75) + 0.25, abs=1e-12)


def test_nothing_to_measure() -> None:
    empty = ColumnProfile.empty(Binning("fractional", edges=(0.0, 1.0)))
    assert wasserstein(empty, empty) is None
    words = ColumnProfile.empty(Binning("string", categories=("a",)))
    assert wasserstein(words, words) is None
    ref, cur = pair([3, 3, 3], [3, 3, 4])
    assert normed(wasserstein(ref, cur), ref) is None
    assert normed(wasserstein(ref, ref), ref) == 0.0


def test_infinities_are_left_out() -> None:
    ref, cur = pair([0, 1, 2, 3], [0, 1, 2, 3, np.inf, -np.inf])
    assert wasserstein(ref, cur) == pytest.approx(0, abs=1e-9)


def test_exact_bins_give_the_raw_distance() -> None:
    generator = np.random.default_rng(3)
    reference, current = generator.normal(size=700), generator.normal(0.2, 1.3, size=900)
    ref, cur = pair(reference, current, exact=True)
    assert ref.binning.num_bins > 700
    assert wasserstein(ref, cur) == pytest.approx(wasserstein_distance(reference, current), abs=2e-3)
    assert measure(ref, cur).statistics["ks"] == pytest.approx(ks_2samp(reference, current).statistic, abs=1e-12)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "poisson"])
def test_the_null_is_what_chance_makes_of_it(shape: str) -> None:
    generator = np.random.default_rng(5)
    options = {"normal": (0, 1), "lognormal": (0, 0.7), "poisson": (4,)}[shape]
    reference = getattr(generator, shape)(*options, size=200_000).astype(float)
    known = profile({"x": reference})
    found = []
    for _ in range(300):
        window = profile({"x": getattr(generator, shape)(*options, size=500).astype(float)}, known)
        found.append(wasserstein(known.columns["x"], window.columns["x"]))
    null = wasserstein_null(known.columns["x"], 200_000, 500)
    assert null is not None
    assert np.mean(found) == pytest.approx(null[0], rel=0.1)
    assert np.std(found) == pytest.approx(null[1] ** 0.5, rel=0.2)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    values = np.asarray(table.column(name).drop_null().to_numpy(), dtype=float)
    return values[np.isfinite(values)]


def real_columns() -> Iterator[tuple[str, ColumnProfile, ColumnProfile, np.ndarray, np.ndarray]]:
    for file in FILES:
        table = pq.read_table(DATA / f"{file}.parquet").slice(0, MOST_ROWS)
        half = table.num_rows // 2
        before, after = table.slice(0, half), table.slice(half)
        known = profile(before)
        window = profile(after, known)
        for name, column in known.columns.items():
            if column.binning.kind == "numeric" and column.values and window.columns[name].values:
                yield f"{file} {name}", column, window.columns[name], numbers(before, name), numbers(after, name)


def test_as_on_raw_values_of_real_columns() -> None:
    if not DATA.exists():
        pytest.skip("the real data sets are not beside this checkout")
    worst_ks, worst_distance, num = 0.0, 0.0, 0
    for name, ref, cur, raw_N, raw_M in real_columns():
        found = measure(ref, cur).statistics
        exact = ks_2samp(raw_N, raw_M, method="asymp")
        assert found["ks"] == pytest.approx(exact.statistic, abs=TOLERANCE), name
        worst_ks = max(worst_ks, abs(found["ks"] - exact.statistic))
        num += 1
        if (spread := raw_N.std(ddof=1)) > 0:
            raw = wasserstein_distance(raw_N, raw_M) / spread
            assert found["wasserstein_normed"] == pytest.approx(raw, abs=TOLERANCE), name
            worst_distance = max(worst_distance, abs(found["wasserstein_normed"] - raw))
    print(f"{num} columns: KS within {worst_ks:.5f}, Wasserstein within {worst_distance:.5f} standard deviations")
    assert num >= 50
