"""A version passes by the gates that its project sets, and the verdict says why."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from rayloop.platform.project import Gate
from rayloop.platform.validate import Verdict, judge


def hold(gate: dict[str, Any], metrics: dict[str, float], champion: dict[str, float] | None = None) -> Verdict:
    number = None if champion is None else 4
    return judge([Gate.model_validate(gate)], metrics, number, champion or {}, "abc", 100)


@pytest.mark.parametrize(
    ("gate", "value", "champion", "passed", "reason"),
    [
        ({"metric": "auc", "min": 0.8}, 0.8, None, True, "auc 0.8000, at least 0.8 asked"),
        ({"metric": "auc", "min": 0.8}, 0.7999, None, False, "auc 0.7999, at least 0.8 asked"),
        ({"metric": "rmse", "max": 3}, 3.0, None, True, "rmse 3.0000, at most 3 asked"),
        ({"metric": "rmse", "max": 3}, 3.1, None, False, "rmse 3.1000, at most 3 asked"),
        ({"metric": "auc", "min": 0.8}, math.nan, None, False, "auc nan, at least 0.8 asked"),
        (
            {"metric": "auc", "max_loss_to_champion": 0.01},
            0.5,
            None,
            True,
            "auc 0.5000; no champion to compare with yet",
        ),
        (
            {"metric": "auc", "max_loss_to_champion": 0.01},
            0.84,
            0.85,
            True,
            "auc 0.8400 against champion v4 0.8500, a loss of at most 0.01 asked",
        ),
        (
            {"metric": "auc", "max_loss_to_champion": 0.01},
            0.839,
            0.85,
            False,
            "auc 0.8390 against champion v4 0.8500, a loss of at most 0.01 asked",
        ),
        ({"metric": "auc", "max_loss_to_champion": 0}, 0.85, 0.85, True, None),
        ({"metric": "auc", "max_loss_to_champion": 0}, 0.9, 0.85, True, None),
        ({"metric": "auc", "max_loss_to_champion": 0}, math.nan, 0.85, False, None),
        ({"metric": "rmse", "max_loss_to_champion": 0.1}, 3.1, 3.0, True, None),
        ({"metric": "rmse", "max_loss_to_champion": 0.1}, 3.11, 3.0, False, None),
        ({"metric": "rmse", "max_loss_to_champion": 0.1}, 1.0, 3.0, True, None),
        ({"metric": "log_loss", "max_loss_to_champion": 0}, 0.3, 0.2, False, None),
    ],
)
def test_a_gate(gate: dict[str, Any], value: float, champion: float | None, passed: bool, reason: str | None) -> None:
    metric = gate["metric"]
    verdict = hold(gate, {metric: value}, None if champion is None else {metric: champion})
    (result,) = verdict.gates
    assert verdict.passed is result.passed is passed
    assert reason is None or result.reason == reason


def test_every_bound_of_a_gate_is_held() -> None:
    verdict = hold({"metric": "auc", "min": 0.5, "max": 0.9, "max_loss_to_champion": 0.1}, {"auc": 0.6}, {"auc": 0.9})
    assert [result.passed for result in verdict.gates] == [True, True, False]
    assert not verdict.passed


def test_all_gates_must_pass() -> None:
    gates = [Gate(metric="auc", min=0.5), Gate(metric="f1", min=0.5)]
    passed = [judge(gates, {"auc": 0.6, "f1": f1}, None, {}, "abc", 1).passed for f1 in (0.6, 0.4)]
    assert passed == [True, False]


def test_an_undefined_metric_fails() -> None:
    verdict = hold({"metric": "auc", "min": 0.1, "max_loss_to_champion": 0.1}, {"accuracy": 1.0})
    assert not verdict.passed
    assert [result.reason for result in verdict.gates] == ["auc is undefined on the held-out rows"]


def test_without_gates_a_version_passes_and_says_so() -> None:
    verdict = judge([], {"auc": 0.1}, None, {}, "abc", 10)
    assert verdict.passed
    assert [result.reason for result in verdict.gates] == ["the project sets no gates"]


def test_the_evidence_is_plain_json() -> None:
    evidence = hold({"metric": "auc", "min": 0.8}, {"auc": 0.9}, {"auc": 0.7}).evidence()
    assert json.loads(json.dumps(evidence)) == {
        "passed": True,
        "gates": [{"passed": True, "reason": "auc 0.9000, at least 0.8 asked"}],
        "metrics": {"auc": 0.9},
        "champion": 4,
        "champion_metrics": {"auc": 0.7},
        "snapshot": "abc",
        "rows": 100,
    }
