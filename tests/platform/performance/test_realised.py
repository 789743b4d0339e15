"""Metrics are scikit-learn's, and their intervals hold the truth as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.performance.outcomes import UNKNOWN_CLASS, Outcomes
from rayloop.platform.performance.realised import area_under_curve, errors_of, measure_classes, measure_numbers
from rayloop.platform.validate import classification_metrics, regression_metrics
from sklearn.metrics import roc_auc_score

Make = Callable[..., Outcomes]


def scored(rows: int, classes: int, seed: int, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, rows)
    raw = random.normal(size=(rows, classes))
    raw[np.arange(rows), target] += strength
    scores = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    return target, np.round(scores, 2) + 1e-3


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_have_the_metrics_of_the_gates(make_outcomes: Make, classes: int) -> None:
    target, scores = scored(500, classes, seed=1)
    found = measure_classes(make_outcomes(target, scores.argmax(axis=1), scores=scores), classes)
    expected = classification_metrics(target, scores.astype(np.float64))
    assert {name: one.mean for name, one in found.items()} == pytest.approx(expected, abs=1e-12)
    for name, one in found.items():
        assert one.low is not None, name
        assert one.low < one.mean < one.high, name


def test_numbers_have_the_metrics_of_the_gates(make_outcomes: Make) -> None:
    random = np.random.default_rng(0)
    target = random.normal(10, 3, 400)
    predicted = target + random.normal(0.5, 1, 400)
    found = measure_numbers(make_outcomes(target, predicted))
    expected = regression_metrics(target, predicted)
    assert found["mae"].mean == pytest.approx(expected["mae"], abs=1e-12)
    assert found["rmse"].mean == pytest.approx(expected["rmse"], abs=1e-12)
    assert found["bias"].mean == pytest.approx((predicted - target).mean(), abs=1e-12)
    assert found["bias"].low < 0.5 < found["bias"].high
    assert measure_numbers(make_outcomes([np.nan], [1.0])) == {}


def test_shares_have_wilson_s_interval_where_requests_have_one_row(make_outcomes: Make) -> None:
    target, predicted = [1] * 90 + [0] * 10, [1] * 100
    found = measure_classes(make_outcomes(target, predicted, scores=np.full((100, 2), 0.5)), 2)
    # Wilson (1927), 90 of 100
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert found["precision"] == found["accuracy"]
    assert (found["recall"].mean, found["recall"].high) == (1.0, 1.0)


def test_rows_of_a_request_count_as_one(make_outcomes: Make) -> None:
    target, predicted = np.repeat([1, 0] * 50, 20), np.ones(2_000)
    alone = measure_classes(make_outcomes(target, predicted, scores=np.full((2_000, 2), 0.5)), 2)["accuracy"]
    group = np.repeat(np.arange(100), 20)
    together = measure_classes(make_outcomes(target, predicted, group, np.full((2_000, 2), 0.5)), 2)["accuracy"]
    assert alone.mean == together.mean == 0.5
    assert together.high - together.low > 4 * (alone.high - alone.low)


def test_a_class_that_the_version_does_not_know_is_an_error(make_outcomes: Make) -> None:
    target = np.array([0, 1, UNKNOWN_CLASS, UNKNOWN_CLASS] * 10)
    predicted = np.array([0, 1, 1, 0] * 10)
    scores = np.tile([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6], [0.6, 0.4]], (10, 1))
    found = measure_classes(make_outcomes(target, predicted, scores=scores), 2)
    assert (found["accuracy"].mean, found["precision"].mean, found["recall"].mean) == (0.5, 0.5, 1.0)
    assert (found["auc"].mean, found["log_loss"].mean) == (1.0, pytest.approx(-np.log(0.9)))
    assert errors_of(make_outcomes(target, predicted), is_classes=True).mean() == 0.5
    assert errors_of(make_outcomes([1.0], [3.5]), is_classes=False).tolist() == [2.5]


def test_what_is_undefined_is_left_out(make_outcomes: Make) -> None:
    assert measure_classes(make_outcomes([], []), 2) == {}
    found = measure_classes(make_outcomes([1.0] * 6, [1.0] * 6, scores=np.full((6, 2), 0.5)), 2)
    assert "auc" not in found
    broken = measure_classes(make_outcomes([1.0, 0.0], [1.0, 1.0], scores=np.full((2, 2), np.nan)), 2)
    assert set(broken) == {"accuracy", "precision", "recall", "f1"}
    assert broken["accuracy"].low is None  # two requests are too few


@pytest.mark.parametrize("rows_of_request", [1, 4])
def test_intervals_hold_the_truth_19_times_of_20(make_outcomes: Make, rows_of_request: int) -> None:
    """Rows of a request share their scores' noise, so they are alike; the truth is that of a very large sample."""

    def draw(requests: int, seed: int) -> Outcomes:
        random = np.random.default_rng(seed)
        target = np.repeat(random.integers(0, 2, requests), rows_of_request)
        noise = np.repeat(random.normal(size=requests), rows_of_request) + 0.5 * random.normal(size=len(target))
        positive = 1 / (1 + np.exp(-(1.2 * (2 * target - 1) + noise)))
        scores = np.column_stack([1 - positive, positive])
        group = np.repeat(np.arange(requests), rows_of_request)
        return make_outcomes(target, (positive > 0.5).astype(float), group, scores)

    truth = {name: one.mean for name, one in measure_classes(draw(200_000, seed=99), 2).items()}
    held = dict.fromkeys(truth, 0)
    trials = 300
    for seed in range(trials):
        for name, one in measure_classes(draw(150, seed), 2).items():
            held[name] += one.low <= truth[name] <= one.high
    assert {name: 0.91 <= count / trials <= 0.985 for name, count in held.items()} == dict.fromkeys(truth, True), held


def test_the_area_under_the_curve_is_scikit_learn_s_with_ties() -> None:
    target, scores = scored(300, 2, seed=5)
    parts = area_under_curve(scores[:, 1], target == 1)
    assert parts.mean() == pytest.approx(roc_auc_score(target, scores[:, 1]), abs=1e-12)


def test_the_realised_auc_of_a_published_set(make_outcomes: Make, real: Callable[[str], pa.Table]) -> None:
    frame = real("california_housing/nannyml_california").to_pandas()
    month = frame["timestamp"].dt.strftime("%Y-%m")
    for name, expected in {"2022-03": 0.7049, "2022-04": 0.9754, "2021-09": 0.6698}.items():
        part = frame[month == name]
        scores = np.column_stack([1 - part["y_pred_proba"], part["y_pred_proba"]])
        found = measure_classes(make_outcomes(part["clf_target"], part["y_pred"], scores=scores), 2)
        assert found["auc"].mean == pytest.approx(expected, abs=5e-5)
        assert found["auc"].low < expected < found["auc"].high
