"""How good a model is on held-out rows, and whether that is good enough."""

from .gates import GateResult, Verdict, judge
from .metrics import (
    classification_metrics,
    is_better,
    metrics_of,
    multilabel_metrics,
    quantile_metrics,
    regression_metrics,
)

__all__ = [
    "GateResult",
    "Verdict",
    "classification_metrics",
    "is_better",
    "judge",
    "metrics_of",
    "multilabel_metrics",
    "quantile_metrics",
    "regression_metrics",
]
