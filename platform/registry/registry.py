"""Registered versions and the champion alias; the ledger and the database hold what MLflow forgets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlparse

import mlflow.entities.model_registry
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ..errors import NotFound
from ..model.flavor import DATA_FOLDER
from ..settings import Settings
from ..state import Ledger
from .server import require_answer

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version; `artifact` is the folder or URI that holds our files."""

    model: str
    version: int
    run_id: str
    artifact: str
    tags: Mapping[str, str]


class Registry:
    """The MLflow model registry."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of each table that it makes
        require_answer(settings.tracking_uri)
        self._client = MlflowClient(settings.tracking_uri, registry_uri=settings.tracking_uri)
        self._ledger = ledger

    def register(self, model: str, model_uri: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register a logged model as the next version; the same run again gives the same version."""
        for known in self.versions(model):
            if known.run_id == run_id:
                return known
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        model_id = model_uri.removeprefix("models:/")
        source = self._client.get_logged_model(model_id).artifact_location
        made = self._client.create_model_version(model, source, run_id, tags=dict(tags), model_id=model_id)
        self._ledger.record("register", f"{model}/{made.version}", {"run": run_id, **tags})
        return self.version(model, int(made.version))

    def artifact_of(self, model_uri: str) -> str:
        """Folder or URI of our files in a logged model."""
        return _artifact(str(self._client.get_logged_model(model_uri.removeprefix("models:/")).artifact_location))

    def location(self, model: str, number: int) -> str:
        """Folder or URI of a version of any flavor, with its MLmodel. Raises NotFound."""
        self.version(model, number)
        return str(self._client.get_model_version_download_uri(model, str(number)))

    def logged_location(self, model_id: str) -> str:
        """Folder or URI of a logged model. Raises NotFound."""
        try:
            return str(self._client.get_logged_model(model_id).artifact_location)
        except MlflowException:
            raise NotFound(f"no model {model_id!r} is logged") from None

    def run_location(self, run_id: str, name: str) -> str:
        """Folder or URI of what a run logged under a name. Raises NotFound."""
        try:
            run = self._client.get_run(run_id)
        except MlflowException:
            raise NotFound(f"no run {run_id!r} is known to MLflow") from None
        for output in run.outputs.model_outputs if run.outputs else []:
            logged = self._client.get_logged_model(output.model_id)
            if logged.name == name:
                return str(logged.artifact_location)
        return f"{run.info.artifact_uri}/{name}"  # as MLflow 2 kept models

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a model, oldest first; empty where the model is unknown."""
        found = self._client.search_model_versions(f"name='{model}'")
        return sorted((_version(item) for item in found), key=lambda item: item.version)

    def version(self, model: str, number: int) -> ModelVersion:
        """One version. Raises NotFound that names what there is."""
        try:
            return _version(self._client.get_model_version(model, str(number)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        known = [str(item.version) for item in self.versions(model)]
        if not known:
            raise NotFound(f"no model {model!r} is registered")
        raise NotFound(f"model {model!r} has no version {number}; it has {', '.join(known)}")

    def alias(self, model: str, alias: str) -> int | None:
        """Version that an alias names, or None."""
        try:
            return int(self._client.get_model_version_by_alias(model, alias).version)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def move_alias(self, model: str, alias: str, version: int | None, reason: str) -> None:
        """Let an alias name another version, or none; the ledger keeps every move. Raises NotFound."""
        before = self.alias(model, alias)
        if before == version:
            return
        if version is not None:
            self.version(model, version)  # or the ledger would tell of a move that MLflow then refuses
        detail = {"alias": alias, "before": before, "after": version, "reason": reason}
        self._ledger.record("alias", model, detail)
        if version is None:
            self._client.delete_registered_model_alias(model, alias)
        else:
            self._client.set_registered_model_alias(model, alias, str(version))

    def tag(self, model: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for name, value in tags.items():
            self._client.set_model_version_tag(model, str(version), name, value)


def _version(item: mlflow.entities.model_registry.ModelVersion) -> ModelVersion:
    return ModelVersion(item.name, int(item.version), item.run_id, _artifact(str(item.source)), dict(item.tags))


def _artifact(source: str) -> str:
    if source.startswith("file:"):
        source = unquote(urlparse(source).path)
    return f"{source}/{DATA_FOLDER}"
