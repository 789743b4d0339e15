"""Passes each epoch's report on to MLflow and to the job's output, from a thread that can't stop the training."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

import ray.train
from ray.train import UserCallback

from ..report import say

logger = logging.getLogger(__name__)


class EpochReporter(UserCallback):  # type: ignore[misc]
    """Lives in Ray Train's controller; an error here would fail the run, so nothing here raises."""

    def __init__(self, tracking_uri: str, run_id: str, epochs: int) -> None:
        self._tracking_uri, self._run_id, self._epochs = tracking_uri, run_id, epochs
        self._queue: queue.SimpleQueue[tuple[int, dict[str, float]]] | None = None

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,  # noqa: ARG002
    ) -> None:
        """Called by Ray Train with one entry for each rank."""
        if self._queue is None:  # made here, not in __init__: the callback travels by pickle
            self._queue = queue.SimpleQueue()
            threading.Thread(target=self._write, args=(self._queue,), daemon=True).start()
        for epoch, line in metrics[0].get("lines", []):
            self._queue.put((int(epoch), dict(line)))

    def _write(self, reports: queue.SimpleQueue[tuple[int, dict[str, float]]]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        client = MlflowClient(self._tracking_uri)
        while True:
            epoch, report = reports.get()
            say(f"epoch {epoch} of {self._epochs}: " + ", ".join(f"{k} {v:.4f}" for k, v in report.items()))
            try:
                client.log_batch(self._run_id, metrics=[Metric(k, float(v), 0, epoch) for k, v in report.items()])
            except Exception as error:
                logger.warning("MLflow did not take the metrics of epoch %d: %s", epoch, error)
