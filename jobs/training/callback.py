"""Passes each report on: to the job's output, to the run's record and to MLflow, from threads that can't stop it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray.train
from ray.train import UserCallback

from ...platform.data import Store
from ...platform.outbox import Outbox
from ...platform.settings import Settings
from ...platform.state import Runs
from ..report import Progress, say_progress

Report = tuple[int, float, int, int, dict[str, float]]
"""Its number, when it came, the last epoch that came with it, its epoch and the metrics."""

MOST_REPORTS = 1_000


class EpochReporter(UserCallback):  # type: ignore[misc]
    """Lives in Ray Train's controller; an error here would fail the run, so nothing here raises."""

    def __init__(self, settings: Settings, project: str, key: str, epochs: int) -> None:
        self._settings, self._project, self._key, self._epochs = settings, project, key, epochs
        self._teller: _Teller | None = None

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,  # noqa: ARG002
    ) -> None:
        """Called by Ray Train with one entry for each rank."""
        if self._teller is None:  # made here, not in __init__: the callback travels by pickle
            self._teller = _Teller(self._settings, self._project, self._key, self._epochs)
        lines = lines_of(metrics[0])
        for epoch, report in lines:
            self._teller.tell(epoch, report, lines[-1][0])


class _Teller:
    """Two outboxes: what is near, and MLflow, which may be slow or away."""

    def __init__(self, settings: Settings, project: str, key: str, epochs: int) -> None:
        self._settings, self._project, self._key, self._epochs = settings, project, key, epochs
        self._began_s = time.time()
        self._first_epoch: int | None = None
        self._told = self._said = 0
        self._near: Outbox[Report] = Outbox(self._tell_near, f"record of {key}", capacity=MOST_REPORTS)
        self._far: Outbox[Report] = Outbox(self._tell_far, f"MLflow, run {key}", capacity=MOST_REPORTS)
        self._delivery: Any = None

    def tell(self, epoch: int, metrics: dict[str, float], last: int) -> None:
        """Queue what is known of an epoch; `last` is the last one that is told of at the same time."""
        self._told += 1
        report = (self._told, time.time(), last, epoch, metrics)
        self._near.put(report)
        self._far.put(report)

    def _tell_near(self, reports: Sequence[Report]) -> None:
        for number, now_s, last, epoch, metrics in reports:
            if number > self._said:  # a store that fails is tried again, and nothing is said twice
                say_progress(Progress(epoch, self._epochs, self._left_s(last, now_s), shown(metrics)))
                self._said = number
        _, _, _, epoch, metrics = reports[-1]
        Runs(Store(self._settings.store)).progress(self._key, epoch, self._epochs, metrics)

    def _left_s(self, epoch: int, now_s: float) -> float | None:
        """Seconds to the last epoch, by the mean of those since the first that was seen here."""
        if self._first_epoch is None:
            self._first_epoch, self._began_s = epoch, now_s
        done = epoch - self._first_epoch
        return (now_s - self._began_s) / done * (self._epochs - epoch) if done > 0 else None

    def _tell_far(self, reports: Sequence[Report]) -> None:
        from ...platform.registry.delivery import Delivery, Numbers

        if self._delivery is None:
            self._delivery = Delivery(self._settings, self._project, self._key, "train", makes=False)
        self._delivery.send([Numbers(metrics, epoch, int(now_s * 1000)) for _, now_s, _, epoch, metrics in reports])


def lines_of(report: dict[str, Any]) -> list[tuple[int, dict[str, float]]]:
    """The epochs that a report tells of: its `lines`, or the one that it is about itself."""
    lines = report.get("lines", [[report.get("epoch", 0), {k: v for k, v in report.items() if k != "epoch"}]])
    return [(int(epoch), {name: float(value) for name, value in metrics.items()}) for epoch, metrics in lines]


def shown(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics that a person follows: none whose name holds a `/`, such as the machine's load."""
    return {name: value for name, value in metrics.items() if "/" not in name}
