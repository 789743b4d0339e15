"""The exact chance of a KS statistic is SciPy's."""

import numpy as np
import pytest
from rayloop.platform.stats import exact_ks_p_value
from scipy.stats import ks_2samp


@pytest.mark.parametrize(("n", "m"), [(1, 7), (10, 13), (200, 200), (1_000, 999), (300, 6_000)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_equals_scipy(n: int, m: int, shift: float) -> None:
    generator = np.random.default_rng(n)
    raw = ks_2samp(generator.normal(size=n), generator.normal(shift, 1, size=m), method="exact")
    assert exact_ks_p_value(raw.statistic, n, m) == pytest.approx(raw.pvalue, abs=1e-10)
    assert exact_ks_p_value(raw.statistic, m, n) == pytest.approx(raw.pvalue, abs=1e-10)


def test_ends() -> None:
    assert exact_ks_p_value(0.0, 5, 5) == 1.0
    assert exact_ks_p_value(1.0, 3, 2) == pytest.approx(2 / 10)
    assert exact_ks_p_value(1.0, 1_000, 1_000) == pytest.approx(0, abs=1e-10)
