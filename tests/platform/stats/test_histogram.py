"""The kernel counts exactly, on every array module alike."""

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import array_module, counts_in_bins, edges_like, to_host


def by_definition(values: np.ndarray, edges: np.ndarray) -> list[int]:
    low, high = np.concatenate([[-np.inf], edges]), np.concatenate([edges, [np.inf]])
    inside = (values[:, None] > low) & (values[:, None] <= high)
    inside[:, 0] |= values == -np.inf
    return [int(count) for count in inside.sum(axis=0)]


NUMBERS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0, np.inf, -np.inf]), st.floats(allow_nan=False, width=32))


@given(st.lists(NUMBERS, max_size=30), st.sets(st.sampled_from([0.0, 1.0, 1.5, 2.0, -3.0]), min_size=1))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_by_definition(dtype: type, values: list[float], edges: set[float]) -> None:
    values_N, edges_B = np.array(values, dtype=dtype), np.array(sorted(edges), dtype=dtype)
    counts_B = counts_in_bins(values_N, edges_B)
    assert counts_B.dtype == np.int64
    assert counts_B.tolist() == by_definition(values_N, edges_B)
    strict_B = counts_in_bins(array_api_strict.asarray(values_N), array_api_strict.asarray(edges_B))
    assert strict_B.dtype == array_api_strict.int64
    assert to_host(strict_B).tolist() == counts_B.tolist()


def test_input_is_left_alone() -> None:
    values_N = np.array([3.0, 1.0, 2.0])
    counts_in_bins(values_N, np.array([1.5]))
    assert values_N.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("values_N", "edges_B"),
    [
        (np.zeros(2), np.zeros(0)),
        (np.zeros((2, 2)), np.zeros(1)),
        (np.zeros(2, dtype=np.float32), np.zeros(1)),
    ],
)
def test_refuses_what_it_cannot_count(values_N: np.ndarray, edges_B: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        counts_in_bins(values_N, edges_B)


def test_edges_stay_finite_in_a_narrow_type() -> None:
    edges_B = edges_like((-1e300, 0.1, 1e300), np.zeros(1, dtype=np.float32))
    assert edges_B.dtype == np.float32
    assert np.isfinite(edges_B).all()
    counts_B = counts_in_bins(np.array([-np.inf, 0.1, np.inf], dtype=np.float32), edges_B)
    assert counts_B.tolist() == [1, 1, 0, 1]


@pytest.mark.gpu
def test_gpu_counts_the_same() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if array_module("auto") is not cupy:
        pytest.skip("CuPy sees no CUDA device")
    values_N = np.random.default_rng(0).normal(size=100_000)
    edges_B = np.quantile(values_N, np.linspace(0, 1, 257))
    device_B = counts_in_bins(cupy.asarray(values_N), cupy.asarray(edges_B))
    assert to_host(device_B).tolist() == counts_in_bins(values_N, edges_B).tolist()
