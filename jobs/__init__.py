"""What runs and ends: training, tuning, drift, pipelines; and the steward that starts pipelines by itself.

`rayloop.jobs.train("churn")` trains a project from Python and gives a TrainResult. Nothing is imported before it is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Progress
    from .submission import TrainResult, train

__all__ = ["Progress", "TrainResult", "train"]


def __getattr__(name: str) -> Any:
    if name in {"TrainResult", "train"}:
        from . import submission

        return getattr(submission, name)
    if name == "Progress":
        from .report import Progress

        return Progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
