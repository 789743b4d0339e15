"""Keeps trials in MLflow as children of the search's run; a failing tracker never stops a search."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from ...platform.project.search import COSTS
from ...platform.registry import Tracker
from .objectives import Objective
from .trial import DIVERGED, FAILED, Trial

logger = logging.getLogger(__name__)


class Children:
    """One child run for each trial that ended, also when a search goes on after a kill."""

    def __init__(self, tracker: Tracker, objectives: Sequence[Objective]) -> None:
        self._tracker, self._objectives = tracker, objectives

    def log(self, trial: Trial) -> None:
        """Write one trial down, best effort."""
        try:
            self._write(trial)
        except Exception as error:
            logger.warning("MLflow did not take trial %d: %s", trial.number, error)

    def log_missing(self, trials: Sequence[Trial]) -> None:
        """Write down what is not there yet: what MLflow did not take, or a kill cut off."""
        try:
            known = self._tracker.children()
        except Exception as error:
            logger.warning("MLflow does not tell which trials it has: %s", error)
            return
        for trial in trials:
            if trial.has_ended and name_of(trial) not in known:
                self.log(trial)

    def _write(self, trial: Trial) -> None:
        metrics = {name: trial.cost(name) for name in COSTS} | {"epochs": float(trial.epochs)}
        if trial.reports:
            last = trial.reports[-1]
            metrics |= last.metrics
            metrics |= {f"best_{name}": value for name, value in last.kept.items() if name.startswith("validation_")}
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        status = "FAILED" if trial.outcome in {DIVERGED, FAILED} else "FINISHED"
        tags = {"rayloop.outcome": trial.outcome, "rayloop.why": trial.why}
        tags |= {f"rayloop.taken.{place}": f"trial {taken.trial} after epoch {taken.epoch}"
                 for place, taken in enumerate(trial.taken)}  # fmt: skip
        self._tracker.log_child(name_of(trial), trial.settings, finite, status, tags)


def name_of(trial: Trial) -> str:
    """The name of a trial's child run, one of a kind under the search's."""
    return f"trial-{trial.number}"
