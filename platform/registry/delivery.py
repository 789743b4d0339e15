"""What MLflow is told of one run, as plain values that a file can hold, and how it is told them, again without harm."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from ..outbox import Refused
from ..settings import Settings
from .server import require_answer

KEY_TAG = "rayloop.key"
MAX_PARAM_CHARS = 6000  # MLflow's own limit
MOST_METRICS, MOST_PARAMS = 1000, 100  # of one call, MLflow's own limits
FINAL_ERRORS = frozenset({"INVALID_PARAMETER_VALUE", "INVALID_STATE"})


@dataclass(frozen=True, slots=True)
class Numbers:
    """Metrics at one step; the moment is kept, so that MLflow knows them again when they are told twice."""

    values: Mapping[str, float]
    step: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Settings and tags of the run."""

    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Text:
    """A file beside the run."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished trial under the run."""

    name: str
    params: Mapping[str, str]
    values: Mapping[str, float]
    status: str
    at_ms: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the run ended, in MLflow's word."""

    status: str


Message = Numbers | Facts | Text | Trial | Ended
KINDS: Mapping[str, type[Message]] = {kind.__name__: kind for kind in (Numbers, Facts, Text, Trial, Ended)}


def to_plain(message: Message) -> dict[str, Any]:
    """A message as JSON can hold it."""
    return {"kind": type(message).__name__, **asdict(message)}


def from_plain(values: Mapping[str, Any]) -> Message:
    """The message that `to_plain` wrote."""
    fields = dict(values)
    return KINDS[fields.pop("kind")](**fields)


class Delivery:
    """Tells MLflow of one run, which is found by its key, and made where `makes` is true and there is none."""

    def __init__(self, settings: Settings, project: str, key: str, kind: str, *, makes: bool) -> None:
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of each table that it makes
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # where each run's page is
        self._settings = settings
        self._project, self._key, self._kind, self._makes = project, key, kind, makes
        self.run_id = ""
        """MLflow's name of the run; empty until MLflow answered once."""
        self.experiment_id = ""
        self.was_known = False

    @property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        return MlflowClient(self._settings.tracking_uri)

    def open(self, timeout_s: float = 5.0) -> None:
        """Find or make the run. Raises Unavailable, or what MLflow raises."""
        if self.run_id:
            return
        require_answer(self._settings.tracking_uri, timeout_s)
        client = self.client
        self.experiment_id = self._experiment(client)
        query = f"tags.`{KEY_TAG}` = '{self._key}'"
        known = client.search_runs([self.experiment_id], filter_string=query, max_results=1)
        self.was_known = bool(known)
        if known:
            self.run_id = str(known[0].info.run_id)
            if self._makes:
                client.update_run(self.run_id, status="RUNNING")
        elif self._makes:
            tags = {KEY_TAG: self._key, "rayloop.kind": self._kind, "mlflow.runName": self._key}
            self.run_id = str(client.create_run(self.experiment_id, tags=tags).info.run_id)
        else:
            raise LookupError(f"MLflow has no run {self._key!r} yet")

    def send(self, messages: Sequence[Message]) -> None:
        """Tell MLflow all of it. Raises Refused where it would never take it, else what MLflow raises."""
        require_answer(self._settings.tracking_uri, 5.0)
        self.open()
        client = self.client
        try:
            self._send_batch(client, messages)
            for message in messages:
                if isinstance(message, Text):
                    client.log_text(self.run_id, message.text, message.name)
                elif isinstance(message, Trial):
                    self._send_trial(client, message)
                elif isinstance(message, Ended):
                    client.set_terminated(self.run_id, status=message.status)
        except MlflowException as error:
            if error.error_code in FINAL_ERRORS:
                raise Refused(str(error)) from error
            raise

    def trials(self) -> set[str]:
        """The names of the run's trials that MLflow knows to have ended."""
        query = f"tags.mlflow.parentRunId = '{self.run_id}'"
        names: set[str] = set()
        token: str | None = None
        while True:
            found = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            names |= {str(run.info.run_name) for run in found if run.info.status != "RUNNING"}
            token = found.token
            if not token:
                return names

    def _send_batch(self, client: MlflowClient, messages: Sequence[Message]) -> None:
        numbers = [
            Metric(name, value, message.at_ms, message.step)
            for message in messages
            if isinstance(message, Numbers)
            for name, value in message.values.items()
        ]
        facts = [message for message in messages if isinstance(message, Facts)]
        params = [Param(name, value[:MAX_PARAM_CHARS]) for fact in facts for name, value in fact.params.items()]
        tags = [RunTag(name, value) for fact in facts for name, value in fact.tags.items()]
        for first in range(0, len(numbers), MOST_METRICS):
            client.log_batch(self.run_id, metrics=numbers[first : first + MOST_METRICS])
        for first in range(0, max(len(params), len(tags)), MOST_PARAMS):
            part = slice(first, first + MOST_PARAMS)
            client.log_batch(self.run_id, params=params[part], tags=tags[part])

    def _send_trial(self, client: MlflowClient, trial: Trial) -> None:
        query = f"tags.mlflow.parentRunId = '{self.run_id}' AND tags.mlflow.runName = '{trial.name}'"
        known = client.search_runs([self.experiment_id], filter_string=query, max_results=1)
        if known and known[0].info.status != "RUNNING":
            return
        tags = {**trial.tags, "mlflow.parentRunId": self.run_id, "mlflow.runName": trial.name}
        child = (known[0] if known else client.create_run(self.experiment_id, tags=tags)).info.run_id
        client.log_batch(
            child,
            metrics=[Metric(name, value, trial.at_ms, 0) for name, value in trial.values.items()],
            params=[Param(name, value[:MAX_PARAM_CHARS]) for name, value in trial.params.items()],
        )
        client.set_terminated(child, status=trial.status)

    def _experiment(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self._project)
        if found is not None:
            return str(found.experiment_id)
        location = f"{self._settings.store.rstrip('/')}/mlflow/{self._project}"
        if "://" not in location:
            location = Path(location).as_uri()
        try:
            return str(client.create_experiment(self._project, artifact_location=location))
        except mlflow.MlflowException:
            found = client.get_experiment_by_name(self._project)  # another process was first
            if found is None:
                raise
            return str(found.experiment_id)
