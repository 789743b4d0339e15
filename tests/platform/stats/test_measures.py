"""Every statistic is the one that a hand computes, in its range, and None where the column has it not."""

import math

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.stats import chi_square_quantile, gamma_p_value, gamma_quantile, profile
from rayloop.platform.stats.measures import STATISTICS, Measured, measure
from scipy.stats import chi2, chi2_contingency, gamma


def measured(reference: object, current: object) -> Measured:
    known = profile(pa.table({"x": pa.array(reference)}))
    return measure(known.columns["x"], profile(pa.table({"x": pa.array(current)}), known).columns["x"])


REFERENCE = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
CURRENT = ["a"] * 30 + ["b"] * 15 + ["c"] * 5 + [None] * 10


def test_psi_and_chi_square_by_hand() -> None:
    found = measured(REFERENCE, CURRENT).statistics
    # Half a row to each filled group: a, b, c, null.
    p = [60.5 / 102, 30.5 / 102, 10.5 / 102, 0.5 / 102]
    q = [30.5 / 62, 15.5 / 62, 5.5 / 62, 10.5 / 62]
    psi = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert found["psi"] == pytest.approx(psi, abs=1e-9)
    assert found["kl"] == pytest.approx(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)), abs=1e-9)
    assert found["kl"] + found["kl_reverse"] == pytest.approx(psi, abs=1e-9)
    # Expected: 160 rows, 100 and 60, columns 90, 45, 15, 10.
    table = [(60, 56.25), (30, 28.125), (10, 9.375), (0, 6.25), (30, 33.75), (15, 16.875), (5, 5.625), (10, 3.75)]
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in table)
    assert found["chi_square"] == pytest.approx(statistic, abs=1e-9)
    assert found["chi_square_p"] == pytest.approx(chi2.sf(statistic, 3), abs=1e-9)
    assert found["cramers_v"] == pytest.approx(math.sqrt(statistic / 160), abs=1e-9)
    assert found["linf"] == pytest.approx(10 / 60, abs=1e-9)
    assert found["total_variation"] == pytest.approx(10 / 60, abs=1e-9)
    assert found["hellinger"] == pytest.approx(math.sqrt(1 - math.sqrt(5 / 6)), abs=1e-9)


def test_chi_square_is_scipys() -> None:
    found = measured(REFERENCE, CURRENT).statistics
    raw = chi2_contingency([[60, 30, 10, 0], [30, 15, 5, 10]], correction=False)
    assert found["chi_square"] == pytest.approx(raw.statistic, abs=1e-9)


def test_mean_shift_is_in_standard_deviations() -> None:
    values = np.random.default_rng(1).normal(5, 2, 1_000)
    assert measured(values, values + 3).statistics["mean_shift"] == pytest.approx(3 / values.std(ddof=1), abs=1e-9)
    assert measured(values, values - 3).statistics["mean_shift"] == pytest.approx(-3 / values.std(ddof=1), abs=1e-9)


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        (REFERENCE, CURRENT),
        ([1.0] * 50, [1.0] * 30),
        ([1.0] * 50, [2.0] * 30),
        ([1.0, 2.0] * 50, [None] * 30),
        ([None] * 30 + [1.0], [1.0, 2.0] * 30),
        ([True, False] * 20, [True] * 9),
        ([0.5] * 20 + [float("nan")] * 5, [float("inf"), -float("inf")] * 9),
        ([1e308, -1e308, 0.0] * 20, [1e308] * 9),
        ([1.0], [2.0]),
    ],
)
def test_all_are_named_finite_and_in_range(reference: list[object], current: list[object]) -> None:
    found = measured(reference, current)
    assert tuple(found.statistics) == STATISTICS
    known = {name: value for name, value in found.statistics.items() if value is not None}
    assert all(map(math.isfinite, known.values())), known
    unit = ("js", "hellinger", "total_variation", "linf", "chi_square_p", "cramers_v", "ks", "ks_p")
    assert all(0 <= known[name] <= 1 for name in unit if name in known)
    assert all(value >= 0 for name, value in known.items() if name != "mean_shift")
    assert 0 <= found.p_value <= 1


def test_without_rows_there_is_nothing() -> None:
    known = profile(pa.table({"x": [1.0, 2.0]}))
    empty = profile(pa.table({"x": pa.array([], pa.float64())}), known)
    found = measure(known.columns["x"], empty.columns["x"])
    assert set(found.statistics.values()) == {None}
    assert found.p_value == 1.0


def test_psi_without_a_drift_is_what_its_null_says() -> None:
    generator = np.random.default_rng(2)
    known = profile({"x": generator.normal(size=5_000)})
    found = [
        measure(known.columns["x"], profile({"x": generator.normal(size=1_000)}, known).columns["x"]).statistics
        for _ in range(300)
    ]
    # Under and over are filled by a few: the number of groups, and so the expectation, varies a little.
    assert np.mean([one["psi"] for one in found]) == pytest.approx(
        np.mean([one["psi_expected"] for one in found]), rel=0.15
    )
    above = np.mean([one["psi"] > one["psi_quantile"] for one in found])
    assert 0.01 <= above <= 0.09


@pytest.mark.parametrize(("mean", "variance"), [(1.0, 2.0), (9.0, 18.0), (0.01, 1e-6), (400.0, 30.0)])
def test_gamma_is_scipys(mean: float, variance: float) -> None:
    law = gamma(mean**2 / variance, scale=variance / mean)
    for alpha in (0.5, 0.05, 0.001):
        assert gamma_quantile(alpha, mean, variance) == pytest.approx(law.isf(alpha), rel=1e-6)
        assert gamma_p_value(law.isf(alpha), mean, variance) == pytest.approx(alpha, rel=1e-6)
    assert gamma_p_value(3.0, 0.0, 0.0) == 1.0
    assert gamma_quantile(0.05, 2.0, 0.0) == 2.0
    assert chi_square_quantile(0.05, 0) == 0.0
