"""Writes one training run to MLflow; it decides nothing, and a failing tracker never fails a training."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.models import Model

from ..model import flavor
from ..model.signature import Signature
from ..settings import Settings

logger = logging.getLogger(__name__)

KEY_TAG = "rayloop.key"
MAX_PARAM_CHARS = 6000  # MLflow's own limit


class Tracker:
    """One MLflow run, found again by its key when a job is run a second time."""

    def __init__(self, settings: Settings, project: str, key: str, kind: str) -> None:
        self._client = MlflowClient(settings.tracking_uri)
        self._settings = settings
        experiment = self._experiment(project)
        query = f"tags.`{KEY_TAG}` = '{key}'"
        known = self._client.search_runs([experiment], filter_string=query, max_results=1)
        if known:
            self.run_id = known[0].info.run_id
            self._client.update_run(self.run_id, status="RUNNING")
        else:
            tags = {KEY_TAG: key, "rayloop.kind": kind, "mlflow.runName": key}
            self.run_id = self._client.create_run(experiment, tags=tags).info.run_id

    def log_params(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Settings of the run; a second time they must be the same."""
        entries = [Param(name, str(value)[:MAX_PARAM_CHARS]) for name, value in params.items()]
        self._client.log_batch(self.run_id, params=entries, tags=[RunTag(n, v) for n, v in tags.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Numbers of one epoch, or of the whole run at step 0."""
        now_ms = int(time.time() * 1000)
        entries = [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
        self._client.log_batch(self.run_id, metrics=entries)

    def log_text(self, name: str, text: str) -> None:
        """A file beside the run."""
        self._client.log_text(self.run_id, text, name)

    def log_child(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        status: str,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """A finished trial under this run."""
        parent = self._client.get_run(self.run_id)
        own = {"mlflow.parentRunId": self.run_id, "mlflow.runName": name}
        child = self._client.create_run(parent.info.experiment_id, tags={**(tags or {}), **own}).info.run_id
        now_ms = int(time.time() * 1000)
        self._client.log_batch(
            child,
            metrics=[Metric(key, float(value), now_ms, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        self._client.set_terminated(child, status=status)

    def children(self) -> set[str]:
        """The names of the trials under this run that have ended."""
        experiment = self._client.get_run(self.run_id).info.experiment_id
        query = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        names: set[str] = set()
        token: str | None = None
        while True:
            found = self._client.search_runs([experiment], query, max_results=1000, page_token=token)
            names |= {run.info.run_name for run in found if run.info.status != "RUNNING"}
            token = found.token
            if not token:
                return names

    def log_model(self, folder: Path, signature: Signature, sha256: str) -> str:
        """Log an artifact folder as a model of this run; returns its MLflow URI."""
        mlflow.set_tracking_uri(self._settings.tracking_uri)
        run = self._client.get_run(self.run_id)
        # Model.log would make it in the default experiment, whose files may lie under the working folder.
        made = self._client.create_logged_model(run.info.experiment_id, "model", self.run_id, params=run.data.params)
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

    def finish(self, status: str = "FINISHED") -> None:
        """End the run."""
        self._client.set_terminated(self.run_id, status=status)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = f"{self._settings.store.rstrip('/')}/mlflow/{name}"
        if "://" not in location:
            location = Path(location).as_uri()
        try:
            return str(self._client.create_experiment(name, artifact_location=location))
        except mlflow.MlflowException:
            found = self._client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
            return str(found.experiment_id)


def environment_lock() -> str:
    """Every installed distribution as `name==version`, one a line, sorted."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in distributions()}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for an artifact on its way to MLflow."""
    return tempfile.TemporaryDirectory(prefix="rayloop-artifact-")
