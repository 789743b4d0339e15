"""Turns scores into probabilities that come true, learnt from rows with known labels, and only where that helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .outcomes import Floats

# N = rows, K = classes

FOLDS = 10
BINS = 10
_SEED = 0
_TOO_GOOD = 0.999  # an AUC beyond it leaves too few errors to learn anything from


@dataclass(frozen=True, slots=True, eq=False)
class Calibrator:
    """One isotonic curve for each class, or none where the scores are as they should be."""

    curves_K: tuple[Any, ...]
    rows: int
    error_before: float
    """Expected calibration error of the scores, in the mean over folds that no curve was fitted on."""
    error_after: float

    @property
    def is_needed(self) -> bool:
        """Whether it changes anything."""
        return any(curve is not None for curve in self.curves_K)

    def calibrate(self, scores_NK: Floats) -> Floats:
        """Probabilities (N, K); of two classes the second one's curve decides for both."""
        if not self.is_needed or not len(scores_NK):
            return scores_NK
        if scores_NK.shape[1] == 2:
            positive_N = self.curves_K[1].predict(scores_NK[:, 1])
            return np.column_stack([1.0 - positive_N, positive_N])
        curved = [
            scores_NK[:, k] if curve is None else curve.predict(scores_NK[:, k])
            for k, curve in enumerate(self.curves_K)
        ]
        sums_N1 = np.sum(curved, axis=0)[:, None]
        return np.where(sums_N1 > 0, np.column_stack(curved) / np.where(sums_N1 > 0, sums_N1, 1.0), scores_NK)


def no_calibrator(num_classes: int) -> Calibrator:
    """Takes scores as they are."""
    return Calibrator((None,) * num_classes, 0, 0.0, 0.0)


def fit_calibrator(scores_NK: Floats, target_N: Floats) -> Calibrator:
    """Fit isotonic curves, and keep those that lower the expected calibration error in every one of 10 folds.

    In each fold the curve is fitted on the others. Source: NannyML's rule; a curve that helps by chance rarely passes.
    """
    num_classes = scores_NK.shape[1]
    curves: list[Any] = [None] * num_classes
    before, after = [], []
    for k in [1] if num_classes == 2 else range(num_classes):
        score_N, is_class_N = scores_NK[:, k], target_N == k
        if not _can_learn(score_N, is_class_N):
            continue
        errors = _errors_left_out(score_N, is_class_N)
        before.append(float(np.mean([was for was, _ in errors])))
        after.append(float(np.mean([became for _, became in errors])))
        if all(became < was for was, became in errors):
            curves[k] = _isotonic(score_N, is_class_N)
    return Calibrator(tuple(curves), len(target_N), float(np.mean(before or [0.0])), float(np.mean(after or [0.0])))


def calibration_error(probability_N: Floats, happened_N: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error over bins of as many rows each. Source: Naeini, Cooper, Hauskrecht (2015).

    >>> calibration_error(np.array([0.5] * 10), np.array([True, False] * 5), bins=1)
    0.0
    """
    order_N = np.argsort(probability_N, kind="stable")
    gaps = [
        len(part) * abs(float(probability_N[part].mean()) - float(happened_N[part].mean()))
        for part in np.array_split(order_N, min(bins, len(order_N)))
    ]
    return sum(gaps) / len(probability_N)


def _errors_left_out(score_N: Floats, is_class_N: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """The calibration error of each fold, before and after a curve that was fitted on the others."""
    from sklearn.model_selection import StratifiedKFold

    found = []
    for fitted, left_out in StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED).split(score_N, is_class_N):
        curved_N = _isotonic(score_N[fitted], is_class_N[fitted]).predict(score_N[left_out])
        happened_N = is_class_N[left_out]
        found.append((calibration_error(score_N[left_out], happened_N), calibration_error(curved_N, happened_N)))
    return found


def _can_learn(score_N: Floats, is_class_N: NDArray[np.bool_]) -> bool:
    from .realised import area_under_curve

    fewest = min(int(is_class_N.sum()), int((~is_class_N).sum()))
    return fewest >= FOLDS and float(area_under_curve(score_N, is_class_N).mean()) <= _TOO_GOOD


def _isotonic(score_N: Floats, is_class_N: NDArray[np.bool_]) -> Any:
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression(out_of_bounds="clip", increasing=True).fit(score_N, is_class_N.astype(np.float64))
