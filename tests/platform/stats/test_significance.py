"""P-values equal scipy's, and stay honest where counts are small or sides unequal."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import (
    benjamini_hochberg,
    chi_square,
    chi_square_p_value,
    homogeneity_p_value,
    hypergeometric_p_value,
    ks_p_value,
    smallest_ks,
)


@pytest.mark.parametrize("x", [1e-3, 0.09, 0.11, 0.5, 0.9, 0.999, 1.0, 1.18, 1.36, 2.0, 4.0, 10.0])
def test_ks_p_value_is_kolmogorovs(x: float) -> None:
    rows = 1_000_000
    statistic = x / math.sqrt(rows / 2)
    expected = scipy.special.kolmogorov(x)
    assert ks_p_value(statistic, rows, rows) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_ks_p_value_of_unequal_sides() -> None:
    assert ks_p_value(0.2, 50, 200) == pytest.approx(scipy.special.kolmogorov(0.2 * math.sqrt(40)), abs=1e-12)
    assert ks_p_value(0.0, 1, 1) == 1
    assert ks_p_value(1.0, 10**9, 10**9) == 0
    for bad in ((-0.1, 1, 1), (1.1, 1, 1), (0.5, 0, 1), (0.5, 1, 0)):
        with pytest.raises(InvalidInput):
            ks_p_value(*bad)


@pytest.mark.parametrize("degrees", [1, 2, 3, 10, 99, 1_000])
def test_chi_square_p_value(degrees: int) -> None:
    for factor in (0.0, 1e-6, 0.1, 0.5, 0.9, 1.0, 1.0 + 2 / degrees, 1.1, 1.5, 3.0):
        x = factor * degrees
        expected = scipy.stats.chi2.sf(x, degrees)
        assert chi_square_p_value(x, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-13)
    assert chi_square_p_value(1e4, degrees) < 1e-200


def test_chi_square_p_value_limits() -> None:
    assert chi_square_p_value(0, 0) == 1
    with pytest.raises(InvalidInput):
        chi_square_p_value(-1, 1)


def test_chi_square_equals_scipy() -> None:
    ref, cur = [120, 0, 60, 20, 9], [90, 0, 80, 20, 11]
    expected = scipy.stats.chi2_contingency(np.array([ref, cur])[:, [0, 2, 3, 4]], correction=False)
    found = chi_square(ref, cur)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.degrees == expected.dof == 3
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert homogeneity_p_value(ref, cur) == found.p_value


def test_chi_square_of_a_constant() -> None:
    found = chi_square([0, 7], [0, 9])
    assert (found.statistic, found.degrees, found.p_value) == (0.0, 0, 1.0)
    assert homogeneity_p_value([0, 7], [0, 9]) is None


@given(st.integers(1, 60), st.integers(1, 60), st.data())
@settings(max_examples=100, deadline=None)
def test_hypergeometric_equals_scipy(num_sample: int, num_marked: int, data: st.DataObject) -> None:
    num_all = data.draw(st.integers(max(num_sample, num_marked), 150))
    fewest, most = max(0, num_sample + num_marked - num_all), min(num_sample, num_marked)
    hits = data.draw(st.integers(fewest, most))
    law = scipy.stats.hypergeom(num_all, num_marked, num_sample)
    expected = min(1.0, 2 * min(law.cdf(hits), law.sf(hits - 1)))
    found = hypergeometric_p_value(hits, num_sample, num_marked, num_all)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    with pytest.raises(InvalidInput):
        hypergeometric_p_value(most + 1, num_sample, num_marked, num_all)


def test_rare_bins_that_suffice_together_are_one_bin() -> None:
    ref, cur = [500, 480, *[2] * 10], [480, 470, *[5] * 10]
    pooled = chi_square([500, 480, 20], [480, 470, 50])
    assert homogeneity_p_value(ref, cur) == pytest.approx(pooled.p_value, rel=1e-12)


def test_an_unseen_category_is_neither_lost_nor_overrated() -> None:
    reference = [600_000, 400_000, 0]
    assert homogeneity_p_value(reference, [90, 60, 50]) == pytest.approx(0, abs=1e-30)
    one_row = homogeneity_p_value(reference, [120, 79, 1])
    assert one_row == pytest.approx(2 * 2 * 200 / 1_000_200, rel=1e-3)


def test_homogeneity_of_small_samples() -> None:
    assert homogeneity_p_value([3, 1], [1, 3]) == 1
    assert homogeneity_p_value([100, 0], [0, 100]) == pytest.approx(chi_square([100, 0], [0, 100]).p_value)


@pytest.mark.parametrize("sides", [(1_000, 1_000), (20_000, 300)])
def test_homogeneity_keeps_its_level(sides: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    shares = np.array([0.5, 0.3, 0.15, 0.04, 0.007, 0.002, 0.001])
    found = [homogeneity_p_value(*(rng.multinomial(rows, shares) for rows in sides)) for _ in range(600)]
    rate = float(np.mean([p_value is not None and p_value <= 0.05 for p_value in found]))
    assert 0.01 <= rate <= 0.08


def test_benjamini_hochberg_equals_scipy() -> None:
    p_values = np.random.default_rng(0).uniform(size=50) ** 3
    expected = scipy.stats.false_discovery_control(p_values)
    assert benjamini_hochberg(p_values.tolist()) == pytest.approx(expected.tolist(), rel=1e-12)
    assert benjamini_hochberg([]) == ()
    assert benjamini_hochberg([1.0, 1.0]) == (1.0, 1.0)


def test_smallest_ks_is_where_the_p_value_meets_alpha() -> None:
    smallest = smallest_ks(5_000, 500, alpha=0.05)
    assert ks_p_value(smallest, 5_000, 500) == pytest.approx(0.05, abs=1e-4)
    assert smallest_ks(0, 500, alpha=0.05) == math.inf
