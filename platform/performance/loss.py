"""Estimates a regression's errors without labels, by a second model that learnt how far off the first one is (DLE).

It knows the loss only where features were like those it learnt from, and as long as the target depends on them as it
did. Source: NannyML's "direct loss estimation".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from .outcomes import Floats, Outcomes

# N = predictions, F = features

MOST_ROWS = 50_000  # more teach such a model little
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class LossModel:
    """Two boosted models: of the absolute and of the squared error of a prediction."""

    absolute: Any
    squared: Any
    rows: int

    def expected_metrics(self, outcomes: Outcomes) -> dict[str, float]:
        """mae and rmse to be expected of these predictions."""
        if not len(outcomes):
            return {}
        given_NF = _given(outcomes)
        with threadpool_limits(1, user_api="openmp"):
            absolute_N = np.maximum(self.absolute.predict(given_NF), 0.0)
            squared_N = np.maximum(self.squared.predict(given_NF), 0.0)
        return {"mae": float(absolute_N.mean()), "rmse": math.sqrt(float(squared_N.mean()))}


def fit_loss_model(outcomes: Outcomes) -> LossModel:
    """Learn from predictions whose labels are known."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    error_N = outcomes.predicted_N - outcomes.target_N
    usable = outcomes.take(np.isfinite(error_N))
    if len(usable) > MOST_ROWS:
        usable = usable.take(np.random.default_rng(_SEED).choice(len(usable), MOST_ROWS, replace=False))
    error_N = usable.predicted_N - usable.target_N
    given_NF = _given(usable)
    # Its threads wait for each other by spinning: on busy cores 4,000 rows took 7 s on two threads, and 0.3 s on one.
    with threadpool_limits(1, user_api="openmp"):
        absolute, squared = (
            HistGradientBoostingRegressor(max_iter=100, early_stopping=False, random_state=_SEED).fit(given_NF, loss_N)
            for loss_N in (np.abs(error_N), error_N**2)
        )
    return LossModel(absolute, squared, len(usable))


def _given(outcomes: Outcomes) -> Floats:
    """The features, and the prediction itself; the trees take what is missing, and nothing infinite."""
    given_NF = np.column_stack([outcomes.features_NF, outcomes.predicted_N])
    return np.where(np.isfinite(given_NF), given_NF, np.nan)
