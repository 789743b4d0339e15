"""Keeps one training run: in the store at once, in MLflow from a thread; a failing MLflow never fails a training."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from ..data import Store
from ..errors import Conflict, RayloopError, Unavailable
from ..model import flavor
from ..model.signature import Signature
from ..outbox import Outbox
from ..settings import Settings
from ..state.runs import FAILED, FINISHED, STOPPED, UNREGISTERED, Runs, require_key
from .delivery import Delivery, Ended, Facts, Message, Numbers, Text, Trial, from_plain, to_plain

logger = logging.getLogger(__name__)

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
FREE = frozenset({"torch", "allow_smaller_batch"})  # may change when a run goes on; the first value stays
OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 30.0
STATES: Mapping[str, str] = {"FINISHED": FINISHED, "FAILED": FAILED, "KILLED": STOPPED}


class Tracker:
    """One run, found again by its key when a job is run a second time."""

    def __init__(self, settings: Settings, project: str, key: str, kind: str) -> None:
        require_key(key)
        self.key = key
        self.runs = Runs(Store(settings.store))
        self._settings = settings
        self._run = self.runs.begin(key, project, kind, current_job())
        self._delivery = Delivery(settings, project, key, self._run.kind, makes=True)
        try:
            self._delivery.open(OPEN_TIMEOUT_S)
        except Exception as error:
            logger.warning("MLflow is told of run %s later: %s", key, error)
        self._outbox: Outbox[Message] = Outbox(self._delivery.send, f"MLflow, run {key}")
        for late in self.runs.undelivered(key):
            self._outbox.put(from_plain(late))

    @property
    def run_id(self) -> str:
        """MLflow's name of the run; empty while MLflow has not answered."""
        return self._delivery.run_id

    def log_params(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Settings of the run. Raises Conflict where a run of this key was begun with others."""
        known = self._run.params
        texts = {name: str(value) for name, value in params.items() if not (name in FREE and name in known)}
        for name, value in texts.items():
            before = known.get(name, value)
            if before != value:
                raise Conflict(
                    f"run {self.key} was begun with {name} = {before}, and can't go on with {value}: "
                    "give the new run another key"
                )
        merged = {**known, **texts}
        self._run = replace(self._run, params=merged, tags={**self._run.tags, **tags}, run_id=self.run_id)
        self._run = replace(self._run, epochs=int(merged.get("epochs", "0")))
        self.runs.save(self._run)
        self._outbox.put(Facts(texts, dict(tags)))

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Numbers of one epoch, or of the whole run at step 0; what is no number is left out."""
        numbers = only_numbers(metrics)
        self._run = replace(self._run, metrics={**self._run.metrics, **numbers}, epoch=max(self._run.epoch, step))
        self._outbox.put(Numbers(numbers, step, int(time.time() * 1000)))

    def log_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """The metrics of every epoch: those that MLflow has already from the training itself are not told again."""
        told = self._epochs_told(history)
        for epoch, metrics in enumerate(history, start=1):
            if epoch in told:
                self._run = replace(self._run, metrics={**self._run.metrics, **only_numbers(metrics)}, epoch=epoch)
            else:
                self.log_metrics(metrics, epoch)

    def log_text(self, name: str, text: str) -> None:
        """A file beside the run."""
        self.runs.write_text(self.key, name, text)
        # A difference may hold bytes that are no text, which MLflow can't write.
        self._outbox.put(Text(name, text.encode("utf-8", "replace").decode()))

    def log_child(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        status: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """A finished trial under this run; one of its name that is there already stays as it is."""
        texts = {key: str(value) for key, value in params.items()}
        self._outbox.put(Trial(name, texts, only_numbers(metrics), status, int(time.time() * 1000), dict(tags or {})))

    def children(self) -> set[str]:
        """The names of the trials under this run that MLflow has. Raises Unavailable, or what MLflow raises."""
        self._delivery.open(OPEN_TIMEOUT_S)
        self._outbox.flush(CLOSE_TIMEOUT_S)
        return self._delivery.trials()

    def log_model(self, folder: Path, signature: Signature, sha256: str) -> str:
        """Log an artifact folder as a model of this run; returns its MLflow URI.

        Raises Unavailable where MLflow can't take it; the folder is kept in the store then.
        """
        self._run = replace(self._run, sha256=sha256)
        try:
            self._delivery.open(OPEN_TIMEOUT_S)
            self._outbox.flush(CLOSE_TIMEOUT_S)
            return self._log_model(folder, signature, sha256)
        except (MlflowException, Unavailable, OSError) as error:  # requests' errors are OSErrors
            self._keep(UNREGISTERED, CLOSE_TIMEOUT_S if self.run_id else 0.0)
            store = Store(self._settings.store)
            kept = store.put_folder(self.runs.model_folder(self.key), folder)
            reason = str(error) if isinstance(error, RayloopError) else f"MLflow failed: {str(error).splitlines()[0]}"
            raise Unavailable(
                f"{reason}; run {self.key} is trained and its model kept at {kept}: "
                f"`rayloop resume {self.key}` registers it once MLflow answers"
            ) from error

    def flush(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Wait until MLflow has all of it; False where it has not."""
        return self._outbox.flush(timeout_s)

    def finish(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED. What MLflow did not take is kept beside the run."""
        self._outbox.put(Ended(status))
        # Called while an error is on its way up, this finds the error's own sentence.
        error = sys.exc_info()[1] if status == "FAILED" else None
        self._run = replace(self._run, error="" if error is None else str(error))
        self._keep(STATES[status], CLOSE_TIMEOUT_S if self.run_id else OPEN_TIMEOUT_S)

    def _keep(self, state: str, timeout_s: float) -> None:
        left = self._outbox.close(timeout_s)
        self.runs.keep_undelivered(self.key, [to_plain(message) for message in left])
        if left:
            logger.warning("MLflow has not all of run %s: %d entries are kept beside it", self.key, len(left))
        self._run = replace(self._run, state=state, ended_s=time.time(), run_id=self.run_id or self._run.run_id)
        self.runs.save(self._run)

    def _epochs_told(self, history: Sequence[Mapping[str, Any]]) -> set[int]:
        """Epochs of which MLflow has the first metric; each report is told as a whole."""
        names = list(only_numbers(history[0])) if history else []
        if not names or not self.run_id:
            return set()
        try:
            known = self._delivery.client.get_metric_history(self.run_id, names[0])
        except Exception:
            return set()  # then all of it is told again, which does no harm
        return {int(metric.step) for metric in known}

    def _log_model(self, folder: Path, signature: Signature, sha256: str) -> str:
        mlflow.set_tracking_uri(self._settings.tracking_uri)
        client = self._delivery.client
        run = client.get_run(self.run_id)
        # Model.log would make it in the default experiment, whose files may lie under the working folder.
        made = client.create_logged_model(run.info.experiment_id, "model", self.run_id, params=run.data.params)
        info = Model.log(
            artifact_path=None,
            model_id=made.model_id,
            flavor=flavor,
            run_id=self.run_id,
            folder=str(folder),
            sha256=sha256,
            # `signature` is also the name of a parameter of Model.log, so ours travels under its own.
            columns=signature,
        )
        return str(info.model_uri)


def only_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The entries that MLflow can draw: numbers, and none that is infinite."""
    kept = {name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))}
    return {name: value for name, value in kept.items() if math.isfinite(value)}


def current_job() -> str:
    """The Ray job that this process is part of, as Ray tells each job's own process; empty where there is none."""
    try:
        told = json.loads(os.environ.get(JOB_VARIABLE, "{}"))
        return str(told.get("metadata", {}).get("job_submission_id", ""))
    except (ValueError, AttributeError):
        return ""


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for an artifact on its way to MLflow."""
    return tempfile.TemporaryDirectory(prefix="rayloop-artifact-")
