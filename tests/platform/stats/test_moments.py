"""Moments equal the textbook's, and add in any order."""

import math

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Moments

NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=20)


def close(one: Moments, other: Moments) -> bool:
    assert one.mean is not None
    assert other.mean is not None
    assert one.m2 is not None
    assert other.m2 is not None
    scale = max(abs(one.min or 0.0), abs(one.max or 0.0), 1.0)
    return (
        (one.count, one.min, one.max) == (other.count, other.min, other.max)
        and math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=1e-9 * scale)
        and math.isclose(one.m2, other.m2, rel_tol=1e-9, abs_tol=1e-9 * scale * scale)
    )


def test_known_answer() -> None:
    moments = Moments.of(np.array([1.0, 2.0, 3.0, 6.0], dtype=np.float32))
    assert moments == Moments(4, 1.0, 6.0, 3.0, 14.0)
    assert moments.std == math.sqrt(14 / 3)
    assert Moments.of(np.array([2.0])).std is None


@given(NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=100, deadline=None)
def test_merge_is_the_whole_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    parts = [Moments.of(np.array(part, dtype=np.float64)) for part in (a, b, c)]
    whole = Moments.of(np.array([*a, *b, *c], dtype=np.float64))
    assert close(parts[0].merge(parts[1]).merge(parts[2]), whole)
    assert close(parts[2].merge(parts[0].merge(parts[1])), whole)


def test_merge_is_stable_far_from_zero() -> None:
    values_N = 1e9 + np.random.default_rng(0).normal(size=10_000)
    merged = Moments.of(values_N[:3_000]).merge(Moments.of(values_N[3_000:]))
    assert merged.std == pytest.approx(values_N.std(ddof=1), rel=1e-6)


def test_overflow_leaves_the_range() -> None:
    moments = Moments.of(np.array([-1e308, 1e308, 1e308]))
    assert (moments.count, moments.min, moments.max, moments.m2) == (3, -1e308, 1e308, None)
    assert moments.merge(Moments.of(np.array([1.0]))).m2 is None
    assert moments.std is None


def test_the_sign_of_zero_does_not_show() -> None:
    moments = [Moments.of(np.array(zeros)) for zeros in ([0.0, -0.0], [-0.0, 0.0], [-0.0])]
    assert {repr((one.min, one.max)) for one in moments} == {"(0.0, 0.0)"}


def test_array_modules_agree() -> None:
    values_N = np.random.default_rng(0).normal(size=1_000)
    assert close(Moments.of(array_api_strict.asarray(values_N)), Moments.of(values_N))


def test_range_needs_numbers() -> None:
    with pytest.raises(InvalidInput):
        Moments(count=0, min=1.0, max=1.0)
    with pytest.raises(InvalidInput):
        Moments(count=2)
