"""Vectors drift by their mean, their spread and their shape, and chance makes of the discrepancy what is stated."""

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.stats import Profile, compare, embedding_drift, profile, smallest_effect
from rayloop.platform.stats.measures import measure

WIDTH = 16


def vectors(seed: int, rows: int, shift: float = 0.0, scale: float = 1.0) -> pa.Table:
    values = np.random.default_rng(seed).normal(shift, scale, (rows, WIDTH))
    return pa.table({"v": pa.FixedSizeListArray.from_arrays(values.ravel(), WIDTH)})


@pytest.fixture(scope="module")
def reference() -> Profile:
    return profile(vectors(0, 6_000))


def test_chance_is_uniform_without_a_drift(reference: Profile) -> None:
    p_values, above = [], 0
    critical = smallest_effect("mmd", reference.columns["v"], 400, 0.05)
    for seed in range(1, 201):
        found = embedding_drift(reference.columns["v"], profile(vectors(seed, 400), reference).columns["v"])
        p_values.append(found.p_value)
        above += found.mmd > critical
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)
    assert 0.005 <= np.mean(np.array(p_values) < 0.05) <= 0.1
    assert above / 200 == pytest.approx(np.mean(np.array(p_values) < 0.05), abs=0.006)


def test_a_moved_mean(reference: Profile) -> None:
    report = compare(reference, profile(vectors(1, 500, shift=0.4), reference))
    (found,) = report.columns
    assert (found.kind, found.verdict) == ("embedding", "drift")
    # 0.4 in each of 16 directions, by a bandwidth of about sqrt(2 * 16).
    assert found.statistics["mean_distance"] == pytest.approx(0.4 * 4 / np.sqrt(32), rel=0.15)
    assert found.statistics["mmd_p"] < 1e-6


def test_a_wider_spread_around_the_same_mean(reference: Profile) -> None:
    found = compare(reference, profile(vectors(2, 500, scale=1.5), reference)).columns[0]
    assert found.verdict == "drift"
    assert found.statistics["mean_distance"] < 0.1


def test_the_same_source_and_nothing_at_all(reference: Profile) -> None:
    assert compare(reference, profile(vectors(3, 500), reference)).columns[0].verdict == "none"
    empty = profile(vectors(3, 0), reference)
    assert compare(reference, empty).verdict == "too_few_rows"
    assert embedding_drift(reference.columns["v"], empty.columns["v"]) is None
    nulls = pa.table({"v": pa.nulls(500, vectors(0, 1).schema.field("v").type)})
    found = compare(reference, profile(nulls, reference)).columns[0]
    assert found.verdict == "drift"
    assert found.statistics["mmd"] is None


def test_vectors_that_are_all_alike() -> None:
    same = pa.table({"v": pa.array([[1.0, 2.0]] * 500, pa.list_(pa.float64()))})
    known = profile(same)
    assert measure(known.columns["v"], known.columns["v"]).p_value == 1.0
    other = profile(pa.table({"v": pa.array([[1.0, 3.0]] * 500, pa.list_(pa.float64()))}), known)
    assert compare(known, other).columns[0].verdict == "drift"
