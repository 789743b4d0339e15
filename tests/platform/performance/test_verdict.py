"""A window is judged once enough labels are there, and a verdict needs a loss that is sure and large."""

from __future__ import annotations

import math

import pytest
from rayloop.platform.performance.verdict import Rules, held_out_reference, judge_metric, state_of
from rayloop.platform.stats.estimate import Estimate, estimate_share

RULES = Rules("accuracy", margin=0.05, label_share=0.8, min_rows=50)


@pytest.mark.parametrize(
    ("labelled", "predictions", "promise", "state"),
    [
        (49, 49, 1.0, "immature"),
        (0, 0, None, "immature"),
        (79, 100, 1.0, "immature"),
        (80, 100, 1.0, "judged"),
        (400, 1_000, 0.5, "judged"),
        (399, 1_000, 0.5, "immature"),
        (60, 1_000, None, "judged"),
        (60, 1_000, 0.0, "judged"),
    ],
)
def test_a_window_is_immature_below_its_share_of_the_labels_that_will_come(
    labelled: int, predictions: int, promise: float | None, state: str
) -> None:
    found, reason = state_of(labelled, predictions, promise, RULES)
    assert found == state, reason
    assert str(labelled) in reason or "%" in reason


@pytest.mark.parametrize(
    ("metric", "found", "reference", "verdict"),
    [
        ("accuracy", (0.90, 0.88, 0.92), (0.90, None, None), "none"),
        ("accuracy", (0.95, 0.94, 0.96), (0.90, None, None), "none"),
        ("accuracy", (0.87, 0.86, 0.88), (0.90, None, None), "possible"),  # surely worse, within the margin of 0.045
        ("accuracy", (0.84, 0.70, 0.95), (0.90, None, None), "possible"),  # beyond the margin, perhaps by chance
        ("accuracy", (0.80, 0.78, 0.82), (0.90, None, None), "drift"),
        ("accuracy", (0.84, 0.83, 0.85), (0.90, 0.88, 0.92), "possible"),  # the reference is not sure either
        ("accuracy", (0.80, None, None), (0.90, None, None), "possible"),
        ("accuracy", (0.89, None, None), (0.90, None, None), "none"),
        ("rmse", (2.00, 1.90, 2.10), (2.00, 1.95, 2.05), "none"),
        ("rmse", (1.00, 0.90, 1.10), (2.00, 1.95, 2.05), "none"),
        ("rmse", (2.50, 2.40, 2.60), (2.00, 1.95, 2.05), "drift"),
        ("rmse", (2.20, 1.90, 2.50), (2.00, 1.95, 2.05), "possible"),
        ("log_loss", (0.50, 0.45, 0.55), (0.30, None, None), "drift"),
    ],
)
def test_a_metric_is_held_against_its_reference(
    metric: str, found: tuple[float, ...], reference: tuple[float, ...], verdict: str
) -> None:
    judged = judge_metric(metric, Estimate(*found), Estimate(*reference), margin=0.05)
    assert judged.verdict == verdict, judged.reason
    assert judged.reason.startswith(f"{metric} {found[0]:.4f}")
    assert f"against {reference[0]:.4f} in the reference" in judged.reason


def test_a_reason_says_which_way() -> None:
    worse = judge_metric("accuracy", Estimate(0.8, 0.78, 0.82), Estimate(0.9, None, None), 0.05).reason
    assert worse == (
        "accuracy 0.8000 [0.7800, 0.8200] against 0.9000 in the reference, worse by 0.1000, "
        "surely by more than the margin of 0.0450"
    )
    assert "better by 0.1000" in judge_metric("mae", Estimate(0.8, 0.7, 0.9), Estimate(0.9, None, None), 0.05).reason


def test_what_the_gates_measured_is_a_reference() -> None:
    found = held_out_reference({"accuracy": 0.9, "auc": 0.95, "log_loss": math.nan}, rows=200)
    assert (found.source, found.rows, set(found.metrics)) == ("held-out rows", 200, {"accuracy", "auc"})
    assert found.metrics["accuracy"] == estimate_share(0.9, 200)
    assert found.metrics["auc"] == Estimate(0.95, None, None)
