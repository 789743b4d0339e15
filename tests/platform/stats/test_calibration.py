"""Limits from chunks of the reference hold its usual ups and downs."""

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Profile, calibrate, compare, profile

ROWS = 700


def week(seed: int, shift: float = 0.0) -> pa.Table:
    """Each week's level differs a little; `name` never does."""
    generator = np.random.default_rng(seed)
    level = generator.normal(0, 0.25) + shift
    return pa.table({"x": generator.normal(level, 1, ROWS), "name": generator.choice(["a", "b"], ROWS, p=[0.7, 0.3])})


WEEKS = [week(seed) for seed in range(12)]
REFERENCE = profile(pa.concat_tables(WEEKS))
CHUNKS = [profile(one, REFERENCE) for one in WEEKS]


def windows(shift: float = 0.0) -> list[Profile]:
    return [profile(week(seed, shift), REFERENCE) for seed in range(100, 130)]


def test_three_deviations_above_the_mean() -> None:
    found = calibrate(REFERENCE, CHUNKS)
    assert (found.num_chunks, found.method, found.warning) == (12, "sigma", None)
    distances = [compare(REFERENCE, chunk).columns[1].statistics["wasserstein_normed"] for chunk in CHUNKS]
    expected = np.mean(distances) + 3 * np.std(distances)
    assert found.limits["x"]["wasserstein_normed"] == pytest.approx(expected)
    assert set(found.limits["name"]) == {"linf", "js"}


def test_the_usual_week_is_no_drift_but_an_unusual_one_is() -> None:
    limits = calibrate(REFERENCE, CHUNKS).limits
    absolute = sum("x" in compare(REFERENCE, one).drifted for one in windows())
    calibrated = sum("x" in compare(REFERENCE, one, calibrated=limits).drifted for one in windows())
    assert absolute > 10
    assert calibrated <= 2
    moved = sum("x" in compare(REFERENCE, one, calibrated=limits).drifted for one in windows(shift=1.5))
    assert moved == 30


def test_a_quantile_and_a_least_limit() -> None:
    found = calibrate(REFERENCE, CHUNKS, method="quantile", quantile=1.0)
    largest = max(compare(REFERENCE, chunk).columns[0].statistics["linf"] for chunk in CHUNKS)
    assert found.limits["name"]["linf"] == pytest.approx(largest)
    assert calibrate(REFERENCE, CHUNKS, least_share=1.0).limits["name"]["linf"] >= 0.1


def test_few_chunks_warn_and_fewer_are_refused() -> None:
    assert "5 chunks" in str(calibrate(REFERENCE, CHUNKS[:5]).warning)
    for chunks in ([], CHUNKS[:1]):
        with pytest.raises(InvalidInput, match="at least 2 chunks"):
            calibrate(REFERENCE, chunks)
    with pytest.raises(InvalidInput, match="no rows"):
        calibrate(REFERENCE, [*CHUNKS, Profile.empty(REFERENCE.binnings)])
    with pytest.raises(InvalidInput, match="quantile"):
        calibrate(REFERENCE, CHUNKS, quantile=0.0)


def test_identical_chunks_give_a_limit_above_zero() -> None:
    same = profile(pa.table({"x": np.ones(500)}))
    found = calibrate(same, [same, same])
    assert all(limit > 0 for limit in found.limits["x"].values())
    assert compare(same, same, calibrated=found.limits).verdict == "none"
