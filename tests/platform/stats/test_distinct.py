"""The distinct sketch is exact for few values, near for many, and merges to the same hashes in any order."""

from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import DistinctSketch, profile, profile_array
from rayloop.platform.stats.distinct import SIZE, STANDARD_ERROR, hash_numbers, hash_texts


@given(st.lists(st.integers(0, 3_000), max_size=200), st.integers(1, 8), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_any_split_and_order_gives_the_same_sketch(values: list[int], num: int, random: object) -> None:
    # Each number stands for a hundred, so that the sketch overflows as well.
    numbers_N = (np.array(values, dtype=np.float64)[:, None] + np.arange(100) / 128).reshape(-1)
    whole = DistinctSketch.of_hashes(hash_numbers(numbers_N))
    parts = [DistinctSketch.of_hashes(hash_numbers(numbers_N[place::num])) for place in range(num)]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert reduce(DistinctSketch.merge, parts) == whole
    assert reduce(lambda one, other: other.merge(one), parts) == whole
    if whole.is_exact:
        assert whole.estimate == len(np.unique(numbers_N))


@pytest.mark.parametrize("num", [1, SIZE - 1, SIZE, 5_000, 100_000, 1_000_000])
@pytest.mark.parametrize("kind", ["even", "random", "tiny"])
def test_the_estimate_lies_within_four_standard_errors(num: int, kind: str) -> None:
    values_N = {
        "even": np.arange(num, dtype=np.float64),
        "random": np.random.default_rng(num).normal(size=num),
        "tiny": np.arange(num) * 5e-324,
    }[kind]
    found = profile({"x": np.concatenate([values_N, values_N])}).columns["x"].distinct
    assert found.is_exact == (num < SIZE)
    assert abs(found.estimate - num) <= (0 if found.is_exact else 4 * STANDARD_ERROR * num)


def test_the_pass_and_the_array_api_keep_the_same_hashes() -> None:
    values_N = np.random.default_rng(1).normal(size=50_000).round(3)
    column = profile({"x": values_N}).columns["x"]
    assert column.distinct == profile_array(values_N, column.binning).distinct
    assert column.distinct == DistinctSketch.of_hashes(hash_numbers(values_N))


def test_equal_numbers_hash_alike_whatever_their_type() -> None:
    assert hash_numbers(np.array([0.5], np.float32)) == hash_numbers(np.array([0.5]))
    assert hash_numbers(np.array([-0.0])) == hash_numbers(np.array([0.0]))
    narrow = profile({"x": np.arange(500, dtype=np.int16)}).columns["x"].distinct
    assert narrow == profile({"x": np.arange(500, dtype=np.int64)}).columns["x"].distinct


def test_texts() -> None:
    texts = pa.array([f"user {place}" for place in range(20_000)])
    found = DistinctSketch.of_hashes(hash_texts(texts))
    assert abs(found.estimate - 20_000) <= 4 * STANDARD_ERROR * 20_000
    assert len(set(hash_texts(pa.array(["", "a", "b", "ab", "ü", "u"])).tolist())) == 6
    assert len(hash_texts(pa.array([], pa.string()))) == 0


def test_hashes_twice_or_too_many_are_refused() -> None:
    with pytest.raises(InvalidInput):
        DistinctSketch(np.array([1, 1], np.uint64))
    with pytest.raises(InvalidInput):
        DistinctSketch(np.arange(SIZE + 1, dtype=np.uint64))
