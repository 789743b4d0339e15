"""Weights are compared bit by bit, tensor by tensor, and the first epoch that differs is found by its hash."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from rayloop.jobs.reproduction.weights import compare_weights, first_difference, judge


def test_equal_bits_are_equal_even_nan() -> None:
    weights = {"a": torch.tensor([math.nan, 0.0]), "b": torch.arange(3), "c": torch.empty(0), "d": torch.tensor(True)}
    assert compare_weights(weights, {name: tensor.clone() for name, tensor in weights.items()}) == []
    assert judge([], 0.0) == "bit-exact"


def test_a_difference_is_measured() -> None:
    then = {"a": torch.tensor([1.0, 2.0, -4.0]), "b": torch.zeros(1)}
    now = {"a": torch.tensor([1.0, 2.5, -4.0]), "b": torch.zeros(1)}
    (found,) = compare_weights(then, now)
    assert (found.name, found.max_abs, found.max_rel, found.values) == ("a", 0.5, 0.2, 1)
    assert judge([found], 0.5) == "within tolerance"
    assert judge([found], 0.49) == "differs"


def test_the_last_bit_and_the_sign_of_zero_count() -> None:
    base = torch.tensor([1.0, 0.0])
    near = torch.tensor([float(torch.nextafter(base[0], torch.tensor(2.0))), 0.0])
    (found,) = compare_weights({"w": base}, {"w": near})
    assert found.max_abs == pytest.approx(2**-23)
    (found,) = compare_weights({"w": base}, {"w": torch.tensor([1.0, -0.0])})
    assert (found.max_abs, found.values) == (0.0, 1)
    assert judge([found], 0.0) == "within tolerance"


def test_bfloat16_and_whole_numbers_are_measured_too() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.int64):
        (found,) = compare_weights({"w": torch.tensor([1, 3], dtype=dtype)}, {"w": torch.tensor([1, 4], dtype=dtype)})
        assert (found.max_abs, found.max_rel, found.values) == (1.0, 0.25, 1)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({}, "is not there now"),
        ({"w": torch.zeros(3)}, "was float32 (2,), is float32 (3,)"),
        ({"w": torch.zeros(2).double()}, "was float32 (2,), is float64 (2,)"),
        ({"w": torch.tensor([math.nan, 0.0])}, "holds NaN or infinite values"),
    ],
)
def test_what_can_t_be_measured_is_never_within_tolerance(now: dict[str, Any], reason: str) -> None:
    (found,) = compare_weights({"w": torch.zeros(2)}, now)
    assert (found.reason, found.max_abs) == (reason, None)
    assert judge([found], math.inf) == "differs"
    if "w" not in now:
        assert compare_weights(now, {"w": torch.zeros(2)})[0].reason == "was not there then"


def seen(*hashes: str, initial: str = "i") -> dict[str, Any]:
    return {"initial": initial, "epochs": [{"epoch": n, "sha256": h} for n, h in enumerate(hashes, start=1)]}


@pytest.mark.parametrize(
    ("then", "now", "epoch"),
    [
        (seen("a", "b", "c"), seen("a", "b", "c"), None),
        (seen("a", "b", "c"), seen("a", "x", "y"), 2),
        (seen("a", "b"), seen("a", "b", "c"), None),
        (seen("a"), seen("a", initial="j"), 0),
        ({}, seen("a"), None),
        (seen("a"), {}, None),
    ],
)
def test_where_two_trainings_part(then: dict[str, Any], now: dict[str, Any], epoch: int | None) -> None:
    assert first_difference(then, now) == epoch
