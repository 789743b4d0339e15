"""Hold-out metrics, computed by scikit-learn; every value is a plain float."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from ..project.schema import LOWER_IS_BETTER, METRICS

# N = rows, K = classes


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

    `r2` is left out for one row, where it is undefined.
    """
    if not np.isfinite(predicted_N).all():
        return dict.fromkeys(METRICS["regression"], math.nan)
    mse = float(sk.mean_squared_error(target_N, predicted_N))
    found = {"mae": float(sk.mean_absolute_error(target_N, predicted_N)), "mse": mse, "rmse": math.sqrt(mse)}
    if len(target_N) > 1:
        found["r2"] = float(sk.r2_score(target_N, predicted_N))
    return found


def is_better(metric: str, value: float, than: float | None) -> bool:
    """True where `value` beats `than`; anything beats None, and NaN beats nothing."""
    if math.isnan(value):
        return False
    if than is None or math.isnan(than):
        return True
    return value < than if metric in LOWER_IS_BETTER else value > than
