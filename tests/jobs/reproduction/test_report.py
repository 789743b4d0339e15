"""A report goes through JSON, says each thing in a line, and is a success only where it may be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rayloop.jobs.reproduction.report import Report, describe
from rayloop.jobs.reproduction.weights import TensorDifference

SAME = Report(
    model="toy",
    version=3,
    run="toy-train-1",
    again="toy-reproduce-1",
    outcome="bit-exact",
    tolerance=None,
    tensors=4,
    differences=(),
    first_epoch=None,
    epochs=5,
    sha256="a" * 64,
    sha256_again="a" * 64,
    code=("commit 123",),
    environment=(),
    machine=(),
    data="snapshot abc",
    labels=(),
    wall_s=12.3,
)
OTHER = replace(
    SAME,
    outcome="differs",
    differences=(TensorDifference("w", 0.5, 0.25, 3), TensorDifference("v", None, None, 0, "is not there now")),
    first_epoch=2,
    sha256_again="b" * 64,
    environment=("torch was 2.13, is 2.12",),
    labels=("resumed 1 time(s) from a checkpoint",),
    machine=("cpus was 8, is 2",),
)


@pytest.mark.parametrize("report", [SAME, OTHER])
def test_a_report_comes_back_from_json(report: Report) -> None:
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_same_bits_are_said_in_the_last_line() -> None:
    assert describe(SAME) == [
        "code: commit 123",
        "data: snapshot abc",
        "environment: as it was",
        "toy v3: bit-exact, 4 of 4 tensors are equal bit for bit; the same artifact (aaaaaaaaaaaa), 12 s",
    ]


def test_each_difference_has_its_line() -> None:
    assert describe(OTHER)[2:] == [
        "environment: torch was 2.13, is 2.12",
        "machine: cpus was 8, is 2",
        "note: resumed 1 time(s) from a checkpoint",
        "tensor w differs in 3 values, by 0.5 at most, 0.25 relative",
        "tensor v is not there now",
        "the weights are the same until they differ after epoch 2",
        "toy v3: differs, 2 of 4 tensors are equal bit for bit; another artifact (bbbbbbbbbbbb), 12 s",
    ]


@pytest.mark.parametrize(
    ("first", "epochs", "words"),
    [
        (0, 3, "before the first step"),
        (1, 3, "after epoch 1"),
        (None, 3, "in 3 epochs whose hashes are known"),
        (None, 0, "no hashes were taken"),
    ],
)
def test_where_they_parted_is_said(first: int | None, epochs: int, words: str) -> None:
    assert words in describe(replace(OTHER, first_epoch=first, epochs=epochs))[-2]


def test_a_long_list_is_cut() -> None:
    many = replace(OTHER, environment=tuple(f"p{n} is other" for n in range(30)), differences=OTHER.differences * 5)
    lines = describe(many)
    assert "environment: and 10 more differences" in lines
    assert "and 5 more tensors differ" in lines


@pytest.mark.parametrize(
    ("outcome", "tolerance", "success"),
    [
        ("bit-exact", None, True),
        ("within tolerance", None, False),
        ("within tolerance", 1e-6, True),
        ("differs", 1e-6, False),
    ],
)
def test_success_is_bits_or_a_tolerance_that_was_asked_for(outcome, tolerance: float | None, success: bool) -> None:
    assert replace(SAME, outcome=outcome, tolerance=tolerance).is_success is success
