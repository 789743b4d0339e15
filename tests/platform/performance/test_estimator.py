"""Estimates without labels: NannyML's published figures, calibration only where it helps, and what they cannot see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.performance.calibration import calibration_error, fit_calibrator, no_calibrator
from rayloop.platform.performance.confusion import expected_metrics
from rayloop.platform.performance.estimator import fit_estimator
from rayloop.platform.performance.outcomes import Outcomes
from rayloop.platform.performance.realised import measure_classes, measure_numbers

Make = Callable[..., Outcomes]
Real = Callable[[str], pa.Table]


def two(positive: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - positive, positive])


def drawn(num: int, seed: int, twist: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that are their true probabilities to the power of `twist`."""
    random = np.random.default_rng(seed)
    true = random.beta(0.8, 0.8, num)
    return (random.uniform(size=num) < true).astype(float), two(true**twist)


def test_published_estimates_are_reproduced(make_outcomes: Make, real: Real) -> None:
    """NannyML's CBPE on its California set: AUC 0.829077 in 2022-03 and 0.910661 in 2022-04."""
    frame = real("california_housing/nannyml_california").to_pandas()
    reference = frame[frame["period"] == "reference"]
    scores = two(reference["y_pred_proba"].to_numpy())
    learnt = make_outcomes(reference["clf_target"], reference["y_pred"], scores=scores)
    estimator = fit_estimator(learnt, 2, min_rows=200)
    assert estimator.describe()["calibrated"] is True
    month = frame["timestamp"].dt.strftime("%Y-%m")
    for name, expected in {"2022-03": 0.829077, "2022-04": 0.910661}.items():
        part = frame[month == name]
        unlabelled = make_outcomes(
            np.full(len(part), np.nan), part["y_pred"], scores=two(part["y_pred_proba"].to_numpy())
        )
        assert estimator.estimate(unlabelled)["auc"] == pytest.approx(expected, abs=1e-6)


def test_the_expected_confusion_by_hand() -> None:
    probabilities = two(np.array([0.9, 0.6, 0.3, 0.2]))
    found = expected_metrics(probabilities, probabilities, np.array([1.0, 1.0, 0.0, 0.0]))
    assert found["accuracy"] == pytest.approx((0.9 + 0.6 + 0.7 + 0.8) / 4)
    assert found["precision"] == pytest.approx(1.5 / 2)
    assert found["recall"] == pytest.approx(1.5 / 2.0)
    assert found["f1"] == pytest.approx(2 * 1.5 / (2 + 2.0))
    pairs = [(i, j) for i in range(4) for j in range(4)]
    p = probabilities[:, 1]
    won = sum(p[i] * (1 - p[j]) * (1.0 if i < j else 0.5 if i == j else 0.0) for i, j in pairs)
    assert found["auc"] == pytest.approx(won / (p.sum() * (1 - p).sum()))


@pytest.mark.parametrize("classes", [2, 3])
def test_estimates_are_the_realised_metrics_where_scores_are_true(make_outcomes: Make, classes: int) -> None:
    random = np.random.default_rng(3)
    scores = random.dirichlet(np.full(classes, 0.6), 40_000)
    target = (random.uniform(size=(40_000, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    realised = measure_classes(make_outcomes(target, scores.argmax(axis=1), scores=scores), classes)
    found = expected_metrics(scores, scores, scores.argmax(axis=1).astype(float))
    assert set(found) == {"accuracy", "precision", "recall", "f1", "auc"}
    for name, value in found.items():
        assert value == pytest.approx(realised[name].mean, abs=0.01), name


def test_nothing_is_estimated_of_what_is_no_class_or_no_number(make_outcomes: Make) -> None:
    scores = two(np.array([0.5, 0.5]))
    assert expected_metrics(scores, scores, np.array([-1.0, 0.0])) == {}
    assert expected_metrics(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0)) == {}
    target, learnt = drawn(1_000, seed=1, twist=2.5)
    estimator = fit_estimator(make_outcomes(target, target, scores=learnt), 2, 200)
    assert estimator.estimate(make_outcomes([0.0, 1.0], [0.0, 1.0], scores=np.full((2, 2), np.nan))) == {}
    assert estimator.estimate(make_outcomes([], [], scores=np.zeros((0, 2)))) == {}
    broken = fit_estimator(make_outcomes(target, target, scores=np.full((1_000, 2), np.nan)), 2, 200)
    assert broken.describe()["calibrated"] is False


def test_scores_are_calibrated_only_where_that_helps() -> None:
    target, scores = drawn(5_000, seed=1, twist=2.5)
    twisted = fit_calibrator(scores, target)
    assert (twisted.is_needed, twisted.rows) == (True, 5_000)
    assert twisted.error_after < twisted.error_before / 3
    new_target, new_scores = drawn(5_000, seed=2, twist=2.5)
    calibrated = twisted.calibrate(new_scores)
    assert calibration_error(calibrated[:, 1], new_target == 1) < 0.03
    np.testing.assert_allclose(calibrated.sum(axis=1), 1.0)
    few_target, few_scores = drawn(300, seed=4)
    true = fit_calibrator(few_scores, few_target)
    assert true.is_needed is False
    assert true.calibrate(few_scores) is few_scores


def test_several_classes_are_calibrated_one_by_one() -> None:
    random = np.random.default_rng(0)
    true = random.dirichlet([1, 1, 1], 6_000)
    target = (random.uniform(size=(6_000, 1)) > true.cumsum(axis=1)).sum(axis=1).astype(float)
    scores = true**3 / (true**3).sum(axis=1, keepdims=True)
    found = fit_calibrator(scores, target)
    assert found.is_needed
    calibrated = found.calibrate(scores)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1.0)
    assert np.abs(calibrated - true).mean() < np.abs(scores - true).mean() / 2


def test_too_few_rows_teach_no_calibrator(make_outcomes: Make) -> None:
    target, scores = drawn(100, seed=1, twist=2.5)
    few = fit_estimator(make_outcomes(target, target, scores=scores), 2, min_rows=200)
    assert few.describe() == {"method": "CBPE", "rows": 0, "calibrated": False, "error_before": 0.0, "error_after": 0.0}
    assert few.estimate(make_outcomes(target, scores.argmax(axis=1), scores=scores))["accuracy"] > 0.5
    one_class = fit_calibrator(scores, np.ones(100))
    assert one_class.is_needed is False
    assert no_calibrator(3).is_needed is False


def test_concept_drift_is_not_seen(make_outcomes: Make, real: Real) -> None:
    """The set's features stay as they were and its labels are turned round: the estimate stays, as documented."""
    table = real("synthetic_drift/mixed_0101_abrupto")
    from sklearn.linear_model import LogisticRegression

    columns = np.column_stack([table.column(f"X{place}").to_numpy() for place in (1, 2, 3, 4)]).astype(float)
    target = table.column("class").to_numpy().astype(float)
    model = LogisticRegression(max_iter=1_000).fit(columns[:5_000], target[:5_000])
    scores = model.predict_proba(columns)
    outcomes = make_outcomes(target, scores.argmax(axis=1), scores=scores)
    estimator = fit_estimator(outcomes.take(np.arange(5_000, 8_000)), 2, 200)
    before, after = np.arange(8_000, 10_000), np.arange(10_000, 12_000)
    gaps = []
    for part in (before, after):
        realised = measure_classes(outcomes.take(part), 2)["accuracy"].mean
        gaps.append(estimator.estimate(outcomes.take(part))["accuracy"] - realised)
    assert abs(gaps[0]) < 0.03
    assert gaps[1] > 0.5


def numbers(num: int, seed: int) -> Outcomes:
    """A regression whose error grows with its first feature."""
    random = np.random.default_rng(seed)
    features = random.uniform(0, 1, (num, 2))
    target = 10 * features[:, 0] + random.normal(0, 0.2 + 2 * features[:, 0])
    index = np.arange(num, dtype=np.int64)
    return Outcomes(index, index, target, 10 * features[:, 0], features_NF=features)


def test_a_regression_s_loss_is_estimated_from_its_features() -> None:
    estimator = fit_estimator(numbers(4_000, seed=0), 0, min_rows=200)
    assert estimator.describe() == {"method": "DLE", "rows": 4_000}
    harder = numbers(2_000, seed=1).take(numbers(2_000, seed=1).features_NF[:, 0] > 0.6)
    realised, usual = measure_numbers(harder), measure_numbers(numbers(2_000, seed=1))
    found = estimator.estimate(harder)
    for name in ("mae", "rmse"):
        assert found[name] == pytest.approx(realised[name].mean, rel=0.1)
        assert found[name] > 1.25 * usual[name].mean
    harder.features_NF[:2, 1] = [np.inf, np.nan]
    assert estimator.estimate(harder)["mae"] == pytest.approx(found["mae"], rel=0.05)
    harder = numbers(2_000, seed=1).take(numbers(2_000, seed=1).features_NF[:, 0] > 0.6)
    assert fit_estimator(numbers(100, seed=0), 0, min_rows=200).estimate(harder) == {}
    assert fit_estimator(numbers(4_000, seed=0), 0, 200).estimate(harder) == found  # seeded
