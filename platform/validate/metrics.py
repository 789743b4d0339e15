"""Hold-out metrics, computed by scikit-learn; every value is a plain float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from ..project.schema import LOWER_IS_BETTER, METRICS

POINT_METRICS = ("mae", "mse", "rmse", "r2")

# N = rows, K = classes or labels, S = steps, Q = quantile levels


def metrics_of(
    target: NDArray[np.generic], answers: Mapping[str, NDArray[np.generic]], levels: Sequence[float] = ()
) -> dict[str, float]:
    """The metrics of a task's answers by their names; `levels` are those of `quantiles`.

    `probabilities` beside class numbers (N,) are of classes, beside marks (N, K) of labels.
    """
    if "probabilities" in answers:
        probabilities = answers["probabilities"]
        return (multilabel_metrics if target.ndim == 2 else classification_metrics)(target, probabilities)  # type: ignore[arg-type]
    found = regression_metrics(target, answers["prediction"])  # type: ignore[arg-type]
    if "quantiles" in answers and len(levels):
        found |= quantile_metrics(target, answers["quantiles"], levels)  # type: ignore[arg-type]
    return found


def classification_metrics(target_N: NDArray[np.int64], probabilities_NK: NDArray[np.float32]) -> dict[str, float]:
    """accuracy, precision, recall, f1, auc, log_loss of class numbers and their probabilities.

    Two classes: class 1 is the positive one. More: macro averages, and one-against-rest AUC. `auc` is left
    out where the rows do not hold every class, since it is undefined there. A model that diverged, whose
    probabilities are not all numbers, gets NaN for each.
    """
    if not np.isfinite(probabilities_NK).all():
        return dict.fromkeys(METRICS["classification"], math.nan)
    num_classes = probabilities_NK.shape[1]
    labels = list(range(num_classes))
    predicted_N = probabilities_NK.argmax(axis=1)
    average = "binary" if num_classes == 2 else "macro"
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        target_N, predicted_N, labels=labels if average == "macro" else None, average=average, zero_division=0
    )
    exact_NK = probabilities_NK.astype(np.float64)
    exact_NK /= exact_NK.sum(axis=1, keepdims=True)  # float32 rows miss 1 by more than scikit-learn allows
    found = {
        "accuracy": sk.accuracy_score(target_N, predicted_N),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "log_loss": sk.log_loss(target_N, exact_NK, labels=labels),
    }
    if len(np.unique(target_N)) == num_classes:
        scores = exact_NK[:, 1] if num_classes == 2 else exact_NK
        found["auc"] = sk.roc_auc_score(target_N, scores, multi_class="ovr", labels=labels)
    return {name: float(value) for name, value in found.items()}


def regression_metrics(target_N: NDArray[np.floating], predicted_N: NDArray[np.floating]) -> dict[str, float]:
    """mae, mse, rmse, r2 in the target's own unit; NaN for each where a prediction is no number.

    Steps ahead (N, S) count as rows do, and those whose target is NaN not at all. `r2` is left out for one value,
    where it is undefined.
    """
    if not np.isfinite(predicted_N).all():
        return dict.fromkeys(POINT_METRICS, math.nan)
    target_N, predicted_N = (values.astype(np.float64) for values in _known(target_N, predicted_N))  # 1e20 has a square
    mse = float(sk.mean_squared_error(target_N, predicted_N))
    found = {"mae": float(sk.mean_absolute_error(target_N, predicted_N)), "mse": mse, "rmse": math.sqrt(mse)}
    if len(target_N) > 1:
        found["r2"] = float(sk.r2_score(target_N, predicted_N))
    return found


def multilabel_metrics(target_NK: NDArray[np.floating], probabilities_NK: NDArray[np.float32]) -> dict[str, float]:
    """f1, precision and recall over all labels of all rows together, where a label is given from 0.5.

    accuracy is the share of rows whose labels are all right, log_loss the mean over labels, and auc the mean over
    those labels that some rows have and some have not; it is left out where there is none.
    """
    if not np.isfinite(probabilities_NK).all():
        return dict.fromkeys(METRICS["multilabel"], math.nan)
    is_given_NK, is_right_NK = probabilities_NK >= 0.5, target_NK >= 0.5
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        is_right_NK, is_given_NK, average="micro", zero_division=0
    )
    exact_NK = np.clip(probabilities_NK.astype(np.float64), 1e-15, 1 - 1e-15)
    loss_NK = -np.where(is_right_NK, np.log(exact_NK), np.log1p(-exact_NK))
    found = {
        "f1": float(f1),
        "precision": float(precision),
        "recall": float(recall),
        "accuracy": float((is_given_NK == is_right_NK).all(axis=1).mean()),
        "log_loss": float(loss_NK.mean()),
    }
    both = np.flatnonzero(is_right_NK.any(axis=0) & ~is_right_NK.all(axis=0))
    if both.size:
        found["auc"] = float(np.mean([sk.roc_auc_score(is_right_NK[:, k], exact_NK[:, k]) for k in both]))
    return found


def quantile_metrics(
    target: NDArray[np.floating], quantiles: NDArray[np.floating], levels: Sequence[float]
) -> dict[str, float]:
    """pinball: the mean pinball loss over levels, in the target's unit; coverage: the share from lowest to highest.

    Of quantiles (N, S * Q) beside targets (N,) or (N, S). A model whose quantiles are right covers as much as its
    outer levels lie apart: 0.8 for 0.1 and 0.9.
    """
    if not np.isfinite(quantiles).all():
        return {"pinball": math.nan, "coverage": math.nan}
    value_M = target.reshape(-1)
    quantiles_MQ = quantiles.reshape(len(value_M), len(levels)).astype(np.float64)
    is_known_M = np.isfinite(value_M)
    value_M, quantiles_MQ = value_M[is_known_M].astype(np.float64), quantiles_MQ[is_known_M]
    missed_MQ = value_M[:, None] - quantiles_MQ
    level_Q = np.asarray(levels, dtype=np.float64)
    pinball = np.maximum(level_Q * missed_MQ, (level_Q - 1) * missed_MQ).mean()
    is_covered_M = (value_M >= quantiles_MQ[:, 0]) & (value_M <= quantiles_MQ[:, -1])
    return {"pinball": float(pinball), "coverage": float(is_covered_M.mean())}


def _known(
    target: NDArray[np.floating], predicted: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    if target.ndim == 1:
        return target, predicted
    is_known = np.isfinite(target)
    return target[is_known], predicted.reshape(target.shape)[is_known]


def is_better(metric: str, value: float, than: float | None) -> bool:
    """True where `value` beats `than`; anything beats None, and NaN beats nothing."""
    if math.isnan(value):
        return False
    if than is None or math.isnan(than):
        return True
    return value < than if metric in LOWER_IS_BETTER else value > than
