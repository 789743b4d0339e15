"""Sums of vectors add, random features estimate the kernel, and a reference without vectors is refused."""

import numpy as np
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Basis, VectorSums, profile
from rayloop.platform.stats.embedding import FEATURES, distances, fit_basis, random_features

BASIS = Basis((0.0, 0.0, 0.0), 1.5)


def test_random_features_estimate_the_kernel() -> None:
    vectors_NW = np.random.default_rng(0).normal(size=(60, 3))
    features_NR = random_features(vectors_NW, BASIS)
    apart_NN = np.sum((vectors_NW[:, None] - vectors_NW[None]) ** 2, axis=2)
    error_NN = features_NR @ features_NR.T - np.exp(-apart_NN / (2 * BASIS.bandwidth**2))
    assert features_NR.shape == (60, FEATURES)
    assert np.sqrt((error_NN**2).mean()) < 1.5 / np.sqrt(FEATURES)


def test_sums_add() -> None:
    vectors_NW = np.random.default_rng(1).normal(size=(50, 3))
    whole = VectorSums.of(vectors_NW, BASIS)
    parts = [VectorSums.of(vectors_NW[low : low + 10], BASIS) for low in range(0, 50, 10)]
    merged = VectorSums.empty(BASIS)
    for part in parts[::-1]:
        merged = part.merge(merged)
    assert merged.count == whole.count == 50
    np.testing.assert_allclose(merged.vectors_W, vectors_NW.sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(merged.features_R, whole.features_R, rtol=1e-9, atol=1e-9)


def test_basis_of_a_reference() -> None:
    vectors_NW = np.random.default_rng(2).normal(loc=(1.0, -2.0), size=(4_000, 2))
    vectors_NW[7] = np.nan
    basis = fit_basis(vectors_NW)
    assert basis.centre == pytest.approx((1.0, -2.0), abs=0.1)
    assert basis.bandwidth == pytest.approx(np.sqrt(4 * np.log(2)), rel=0.05)  # median distance of two normal points
    assert 0 < basis.null_variance < basis.null_mean < 1


def test_the_null_mean_is_that_of_two_samples_without_a_drift() -> None:
    rng = np.random.default_rng(3)
    basis = fit_basis(rng.normal(size=(5_000, 2)))
    apart = []
    for _ in range(200):
        one, other = (random_features(rng.normal(size=(40, 2)), basis).mean(axis=0) for _ in range(2))
        apart.append(float(np.sum((one - other) ** 2)))
    assert np.mean(apart) * 40 / 2 == pytest.approx(basis.null_mean, rel=0.1)


def test_constant_empty_and_broken_references() -> None:
    assert fit_basis(np.ones((5, 2))) == Basis((1.0, 1.0), 1.0, pytest.approx(0.0), pytest.approx(0.0))
    assert fit_basis(np.full((5, 2), np.nan)) == Basis((0.0, 0.0), 1.0)
    assert fit_basis(np.ones((1, 2))).centre == (1.0, 1.0)
    with pytest.raises(InvalidInput, match="only nulls"):
        fit_basis(np.empty((3, 0)))


def test_distances_of_vectors_that_are_not_finite_or_huge() -> None:
    vectors_NW = np.array([[3.0, 4.0, 0.0], [np.nan, 0.0, 0.0], [-np.inf, 0.0, 0.0], [1e300, 0.0, 0.0]])
    found_N = distances(vectors_NW, BASIS)
    assert found_N[0] == 5
    assert np.isnan(found_N[1])
    assert (found_N[2:] == np.inf).all()


def test_a_matrix_is_a_column_of_vectors() -> None:
    reference = profile({"v": np.random.default_rng(4).normal(size=(500, 8)).astype(np.float32)})
    column = reference.columns["v"]
    assert column.binning.type == "vector"
    assert column.vectors is not None
    assert column.vectors.count == column.moments.count == 500
    moved = profile({"v": np.full((5, 8), 100.0)}, reference).columns["v"]
    assert moved.counts[-4] == 5  # over
    assert moved.above == pytest.approx(5 * (np.sqrt(8) * 100 - max(column.binning.edges)), rel=0.05)
