"""The peer's rules: which test, which score, which verdict, by SciPy; the real peer is asked in tests/benchmarks."""

import math

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import ColumnDrift, compare, profile
from scipy.spatial.distance import jensenshannon
from scipy.stats import chisquare, ks_2samp, norm, wasserstein_distance

GENERATOR = np.random.default_rng(9)


def judged(reference: object, current: object) -> ColumnDrift | None:
    known = profile(pa.table({"x": pa.array(reference)}), exact=len(reference) <= 1_000)
    report = compare(known, profile(pa.table({"x": pa.array(current)}), known), compat="evidently")
    assert report.compat == "evidently"
    return report.columns[0] if report.columns else None


@pytest.mark.parametrize("rows", [900, 12_000])
def test_few_rows_of_numbers_are_judged_by_ks(rows: int) -> None:
    reference, current = GENERATOR.normal(size=1_000), GENERATOR.normal(0.06, 1, rows)
    found = judged(reference, current)
    raw = ks_2samp(reference, current)
    assert found.judged == "ks_p"
    assert found.value == pytest.approx(raw.pvalue, rel=5e-3)
    assert (found.verdict == "drift") == (raw.pvalue <= 0.05)


def test_many_rows_of_numbers_are_judged_by_wasserstein() -> None:
    reference, current = GENERATOR.lognormal(size=3_000), GENERATOR.lognormal(0.1, 1, 2_000)
    found = judged(np.append(reference, [np.inf, np.nan]), current)
    assert found.judged == "wasserstein_normed"
    assert found.value == pytest.approx(wasserstein_distance(reference, current) / reference.std(), abs=1 / 256)
    assert found.limit == 0.1


def test_few_different_values_are_categories() -> None:
    reference, current = GENERATOR.integers(0, 4, 800).astype(float), GENERATOR.integers(0, 4, 600).astype(float)
    seen, known = np.bincount(current.astype(int)), np.bincount(reference.astype(int))
    found = judged(reference, current)
    assert found.judged == "chi_square_p"
    assert found.value == pytest.approx(chisquare(seen, known * 600 / 800).pvalue, abs=1e-9)
    many = judged(np.tile(reference, 2), current)
    assert many.judged == "js"
    assert many.value == pytest.approx(jensenshannon(known, seen), abs=1e-7)


def test_ten_different_integers_are_categories_too() -> None:
    reference, current = GENERATOR.integers(0, 10, 800), GENERATOR.integers(0, 10, 700)
    assert judged(reference, current).judged == "chi_square_p"
    assert judged(reference.astype(float), current.astype(float)).judged == "ks_p"


def test_two_values_are_judged_by_z() -> None:
    reference, current = [True] * 300 + [False] * 200, [True] * 150 + [False] * 150
    found = judged(reference, current)
    pooled = 450 / 800
    z = (0.6 - 0.5) / math.sqrt(pooled * (1 - pooled) * (1 / 500 + 1 / 300))
    assert (found.judged, found.verdict) == ("z_p", "drift")
    assert found.value == pytest.approx(2 * norm.sf(z), abs=1e-12)
    assert judged([True] * 50, [True] * 30).value == 1.0


def test_an_unseen_category_of_a_small_reference_is_a_drift() -> None:
    found = judged(["a", "b", "c"] * 100, ["a", "b", "c"] * 99 + ["d"] * 3)
    assert (found.value, found.verdict) == (0.0, "drift")


def test_what_is_left_out_or_not_reproduced() -> None:
    assert judged(pa.array([1, 2] * 50, pa.timestamp("s")), pa.array([1, 2] * 50, pa.timestamp("s"))) is None
    texts = [f"text {place}" for place in range(500)]
    assert "not reproduced" in judged(texts, texts).reason
    nothing = judged([1.0, 2.0] * 50, pa.array([None] * 40, pa.float64()))
    assert (nothing.verdict, nothing.value) == ("too_few_rows", None)
    assert "in the window" in nothing.reason


def test_half_of_the_columns_make_a_drift() -> None:
    table = {name: GENERATOR.normal(size=500) for name in "abcd"}
    known = profile(pa.table(table), exact=True)
    for moved, verdict in ((1, "none"), (2, "drift")):
        window = {name: values + (place < moved) for place, (name, values) in enumerate(table.items())}
        assert compare(known, profile(pa.table(window), known), compat="evidently").verdict == verdict
    with pytest.raises(InvalidInput, match="'nannyml'"):
        compare(known, known, compat="nannyml")
