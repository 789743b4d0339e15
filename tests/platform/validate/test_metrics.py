"""Metrics are scikit-learn's, by hand on small rows and by direct calls on larger ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from rayloop.platform import validate
from rayloop.platform.project.schema import LOWER_IS_BETTER, METRICS
from rayloop.platform.validate import (
    classification_metrics,
    is_better,
    metrics_of,
    multilabel_metrics,
    quantile_metrics,
    regression_metrics,
)
from sklearn import metrics as sk

# N = rows, K = classes


def draw(rows: int, classes: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    target_N = rng.integers(0, classes, rows)
    scores_NK = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[target_N]
    return target_N, (np.exp(scores_NK) / np.exp(scores_NK).sum(1, keepdims=True)).astype(np.float32)


def test_public_names_exist() -> None:
    assert [name for name in validate.__all__ if not hasattr(validate, name)] == []


def test_two_classes_by_hand() -> None:
    target = np.array([0, 0, 1, 1, 1])
    positive = np.array([0.2, 0.6, 0.9, 0.4, 0.7], np.float32)
    found = classification_metrics(target, np.stack([1 - positive, positive], axis=1))
    # One false positive, one false negative; 5 of the 6 pairs (positive above negative) are in order.
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["precision"] == found["recall"] == found["f1"] == pytest.approx(2 / 3)
    assert found["auc"] == pytest.approx(5 / 6)
    losses = [-math.log(p) for p in (0.8, 0.4, 0.9, 0.4, 0.7)]
    assert found["log_loss"] == pytest.approx(sum(losses) / 5, rel=1e-6)


def test_three_classes_by_hand() -> None:
    found = classification_metrics(np.array([0, 1, 2, 2]), np.eye(3, dtype=np.float32)[[0, 1, 2, 1]])
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["precision"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["recall"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    # Against the rest: class 0 parts all pairs, class 1 ties one of three, class 2 ties one of two.
    assert found["auc"] == pytest.approx((1 + 5 / 6 + 3 / 4) / 3)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_metrics_are_those_of_direct_calls(classes: int) -> None:
    target_N, probabilities_NK = draw(2_000, classes)
    average = "binary" if classes == 2 else "macro"
    predicted_N = probabilities_NK.argmax(axis=1)
    exact_NK = probabilities_NK.astype(np.float64)
    exact_NK /= exact_NK.sum(axis=1, keepdims=True)
    expected = {
        "accuracy": sk.accuracy_score(target_N, predicted_N),
        "precision": sk.precision_score(target_N, predicted_N, average=average),
        "recall": sk.recall_score(target_N, predicted_N, average=average),
        "f1": sk.f1_score(target_N, predicted_N, average=average),
        "log_loss": sk.log_loss(target_N, exact_NK),
        "auc": sk.roc_auc_score(target_N, exact_NK[:, 1] if classes == 2 else exact_NK, multi_class="ovr"),
    }
    found = classification_metrics(target_N, probabilities_NK)
    assert found == pytest.approx(expected, rel=1e-12)
    assert set(found) == set(METRICS["classification"])
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize(("classes", "kept"), [(2, [0]), (2, [1]), (3, [0, 2]), (3, [1])])
def test_auc_is_left_out_where_a_class_is_missing(classes: int, kept: list[int]) -> None:
    target_N, probabilities_NK = draw(500, classes)
    rows = np.isin(target_N, kept)
    found = classification_metrics(target_N[rows], probabilities_NK[rows])
    assert set(found) == set(METRICS["classification"]) - {"auc"}
    assert found["log_loss"] == pytest.approx(
        -np.log(probabilities_NK[rows, target_N[rows]].astype(np.float64)).mean(), rel=1e-5
    )


def test_a_class_that_is_never_predicted_counts_as_zero() -> None:
    found = classification_metrics(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32))
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)


def test_regression_by_hand_and_by_direct_calls() -> None:
    found = regression_metrics(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]))
    assert found == pytest.approx({"mae": 1.0, "mse": 3.0, "rmse": math.sqrt(3), "r2": 1 - 9 / 2})
    rng = np.random.default_rng(0)
    target_N = rng.normal(100, 20, 1_000)
    predicted_N = target_N + rng.normal(0, 5, 1_000)
    found = regression_metrics(target_N, predicted_N)
    assert set(found) == {"mae", "mse", "rmse", "r2"}
    assert found["r2"] == pytest.approx(sk.r2_score(target_N, predicted_N))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(target_N, predicted_N))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(target_N, predicted_N))


def test_r2_is_left_out_for_one_row() -> None:
    assert regression_metrics(np.array([1.0]), np.array([3.0])) == {"mae": 2.0, "mse": 4.0, "rmse": 2.0}


def test_a_model_that_diverged_gets_no_number() -> None:
    target_N, probabilities_NK = draw(10, 2)
    probabilities_NK[3, 0] = np.nan
    found = classification_metrics(target_N, probabilities_NK)
    assert set(found) == set(METRICS["classification"])
    assert all(math.isnan(value) for value in found.values())
    found = regression_metrics(np.array([1.0, 2.0]), np.array([np.inf, 1.0]))
    assert set(found) == {"mae", "mse", "rmse", "r2"}
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("metric", [metric for metrics in METRICS.values() for metric in metrics])
def test_better_is_lower_or_higher_by_metric(metric: str) -> None:
    low_wins = metric in LOWER_IS_BETTER
    assert is_better(metric, 0.1, 0.2) is low_wins
    assert is_better(metric, 0.2, 0.1) is not low_wins
    assert not is_better(metric, 0.1, 0.1)
    assert is_better(metric, 0.1, None)
    assert is_better(metric, 0.1, math.nan)
    assert not is_better(metric, math.nan, 0.1)
    assert not is_better(metric, math.nan, None)


def test_losses_and_errors_are_better_low() -> None:
    assert {"log_loss", "mae", "mse", "rmse", "pinball"} == LOWER_IS_BETTER


def test_labels_by_hand() -> None:
    target = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    chances = np.array([[0.9, 0.6, 0.1], [0.8, 0.7, 0.2], [0.3, 0.4, 0.3]], np.float32)
    found = multilabel_metrics(target, chances)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert (found["precision"], found["recall"]) == (pytest.approx(3 / 4), pytest.approx(3 / 4))
    assert found["f1"] == pytest.approx(3 / 4)
    # The third label never comes; of the second, one of two pairs is in order.
    assert found["auc"] == pytest.approx((1 + 1 / 2) / 2)
    right = np.where(target > 0, chances, 1 - chances)
    assert found["log_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-6)
    assert set(found) == set(METRICS["multilabel"])
    assert "auc" not in multilabel_metrics(np.ones((3, 2)), np.full((3, 2), 0.5, np.float32))
    assert all(math.isnan(value) for value in multilabel_metrics(target, chances * np.nan).values())


def test_quantiles_by_hand_and_by_direct_calls() -> None:
    target = np.array([1.0, 5.0])
    quantiles = np.array([[0.0, 2.0], [1.0, 4.0]])
    found = quantile_metrics(target, quantiles, (0.1, 0.9))
    assert found["pinball"] == pytest.approx(np.mean([0.1 * 1, 0.1 * 1, 0.1 * 4, 0.9 * 1]))
    assert found["coverage"] == pytest.approx(1 / 2)
    rng = np.random.default_rng(0)
    target, quantiles = rng.normal(size=500), np.sort(rng.normal(size=(500, 3)), axis=1)
    levels = (0.05, 0.5, 0.8)
    expected = [sk.mean_pinball_loss(target, quantiles[:, q], alpha=levels[q]) for q in range(3)]
    assert quantile_metrics(target, quantiles, levels)["pinball"] == pytest.approx(np.mean(expected))
    assert math.isnan(quantile_metrics(target, quantiles * np.nan, levels)["pinball"])


def test_steps_ahead_count_as_rows_and_missing_ones_do_not() -> None:
    target = np.array([[1.0, 2.0], [3.0, math.nan]])
    predicted = np.array([[2.0, 2.0], [5.0, 9.0]])
    assert regression_metrics(target, predicted) == pytest.approx(
        regression_metrics(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 5.0]))
    )
    found = metrics_of(target, {"prediction": predicted, "quantiles": np.repeat(predicted, 2, axis=1)}, (0.1, 0.9))
    assert set(found) == set(METRICS["regression"])
    assert found["coverage"] == pytest.approx(1 / 3)


def test_metrics_follow_the_answers() -> None:
    codes, chances = draw(50, 3)
    assert metrics_of(codes, {"probabilities": chances}) == classification_metrics(codes, chances)
    marks = np.eye(3)[codes]
    assert metrics_of(marks, {"probabilities": chances}) == multilabel_metrics(marks, chances)
    values = codes.astype(float)
    assert metrics_of(values, {"prediction": values}) == regression_metrics(values, values)
