"""Estimates a classifier's metrics without labels, from the confusion that its own calibrated scores expect (CBPE).

It holds as long as scores mean what they meant: under concept drift it is wrong, and says nothing of it. Source:
NannyML's "confidence-based performance estimation"; Bialek et al. (2024), "Estimating model performance under covariate
shift without labels".
"""

from __future__ import annotations

import numpy as np

from .outcomes import Floats

# N = predictions, K = classes, G = scores that differ


def expected_metrics(scores_NK: Floats, probabilities_NK: Floats, predicted_N: Floats) -> dict[str, float]:
    """accuracy, precision, recall, f1 and auc to be expected; `probabilities_NK` are the calibrated scores.

    >>> sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> round(expected_metrics(sure, sure, np.array([0.0, 1.0]))["accuracy"], 6)
    0.85
    """
    num, num_classes = probabilities_NK.shape
    is_known_N = predicted_N >= 0
    if not num or not is_known_N.all():
        return {}
    said_N = predicted_N.astype(np.int64)
    found = {"accuracy": float(probabilities_NK[np.arange(num), said_N].mean())}
    expected_K = probabilities_NK.sum(axis=0)
    said_K = np.bincount(said_N, minlength=num_classes).astype(np.float64)
    hit_K = np.bincount(said_N, weights=probabilities_NK[np.arange(num), said_N], minlength=num_classes)
    classes = [1] if num_classes == 2 else list(range(num_classes))
    found["precision"] = float(np.mean([_over(hit_K[k], said_K[k]) for k in classes]))
    found["recall"] = float(np.mean([_over(hit_K[k], expected_K[k]) for k in classes]))
    found["f1"] = float(np.mean([_over(2 * hit_K[k], said_K[k] + expected_K[k]) for k in classes]))
    areas = [_expected_area(scores_NK[:, k], probabilities_NK[:, k]) for k in classes]
    if None not in areas:
        found["auc"] = float(np.mean([area for area in areas if area is not None]))
    return found


def _expected_area(score_N: Floats, probability_N: Floats) -> float | None:
    """Area under the ROC curve where each row is positive with its probability; None where one class is impossible."""
    value_G, place_N = np.unique(score_N, return_inverse=True)
    positive_G = np.bincount(place_N, weights=probability_N, minlength=len(value_G))
    negative_G = np.bincount(place_N, weights=1.0 - probability_N, minlength=len(value_G))
    if positive_G.sum() <= 0 or negative_G.sum() <= 0:
        return None
    below_G = np.cumsum(negative_G) - 0.5 * negative_G
    return float(positive_G @ below_G / (positive_G.sum() * negative_G.sum()))


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
