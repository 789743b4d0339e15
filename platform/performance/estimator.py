"""Estimates a window's metrics without its labels, by what earlier rows with labels taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .calibration import Calibrator, fit_calibrator, no_calibrator
from .confusion import expected_metrics
from .loss import LossModel, fit_loss_model
from .outcomes import UNKNOWN_CLASS, Outcomes


@dataclass(frozen=True, slots=True, eq=False)
class Estimator:
    """Of a classifier a calibrator, of a regression a model of its loss; None where nothing can be estimated."""

    calibrator: Calibrator | None = None
    loss: LossModel | None = None

    def estimate(self, outcomes: Outcomes) -> dict[str, float]:
        """The metrics to be expected of these predictions; their labels are not looked at."""
        if self.calibrator is not None:
            if not len(outcomes) or not np.isfinite(outcomes.scores_NK).all():
                return {}
            calibrated = self.calibrator.calibrate(outcomes.scores_NK)
            return expected_metrics(outcomes.scores_NK, calibrated, outcomes.predicted_N)
        return self.loss.expected_metrics(outcomes) if self.loss is not None else {}

    def describe(self) -> dict[str, Any]:
        """What it learnt from, as plain values."""
        if self.calibrator is not None:
            found = self.calibrator
            errors = {"error_before": found.error_before, "error_after": found.error_after}
            return {"method": "CBPE", "rows": found.rows, "calibrated": found.is_needed, **errors}
        return {"method": "DLE", "rows": self.loss.rows} if self.loss is not None else {"method": None, "rows": 0}


def fit_estimator(reference: Outcomes, num_classes: int, min_rows: int) -> Estimator:
    """Learn from rows with labels; `num_classes` is 0 for a regression.

    Too few rows: a classifier's scores are taken as they are, and nothing is estimated of a regression.
    """
    known = reference.labelled()
    known = known.take(known.target_N != UNKNOWN_CLASS) if num_classes else known
    if num_classes:
        is_sound = bool(np.isfinite(known.scores_NK).all())
        enough = len(known) >= min_rows and is_sound
        return Estimator(fit_calibrator(known.scores_NK, known.target_N) if enough else no_calibrator(num_classes))
    return Estimator(loss=fit_loss_model(known)) if len(known) >= min_rows else Estimator()
