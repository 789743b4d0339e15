"""Finds the model that a person names by URI, in MLflow or in a folder, and brings its files here."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from pyarrow import fs

from ..errors import InvalidInput, NotFound
from ..model.folder import DESCRIPTION_FILE
from ..settings import Settings

if TYPE_CHECKING:
    from ..workspace import Workspace

_REGISTERED = re.compile(r"models:/([^/@]+)/([1-9][0-9]{0,8})")
_ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")
_LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})")
_RUN = re.compile(r"runs:/([^/]+)/(.+)")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model by the `uri` that was asked for; `location` holds its files, `version` is its registered number."""

    uri: str
    location: str
    version: int | None = None


def find_model(workspace: Workspace, uri: str) -> ModelSource:
    """Say where the model of a URI lies.

    Raises NotFound for one that isn't there, InvalidInput for a URI that names none.
    """
    if found := _REGISTERED.fullmatch(uri):
        return ModelSource(uri, workspace.registry.location(found[1], int(found[2])), int(found[2]))
    if found := _ALIAS.fullmatch(uri):
        number = workspace.registry.alias(found[1], found[2])
        if number is None:
            raise NotFound(f"model {found[1]!r} has no alias {found[2]!r}")
        return ModelSource(uri, workspace.registry.location(found[1], number), number)
    if found := _LOGGED.fullmatch(uri):
        return ModelSource(uri, workspace.registry.logged_location(found[1]))
    if found := _RUN.fullmatch(uri):
        return ModelSource(uri, workspace.registry.run_location(found[1], found[2].rstrip("/")))
    if uri.startswith(("models:", "runs:")):
        raise InvalidInput(
            f"model {uri!r} must name a version, an alias or a run's model, such as models:/churn/3, "
            "models:/churn@champion or runs:/<id>/model"
        )
    if "://" in uri and not uri.startswith("file:"):
        return ModelSource(uri, uri)
    return ModelSource(uri, str(_local(uri).absolute()))


def download_model(settings: Settings, source: ModelSource, folder: Path) -> None:
    """Copy a model's files into a folder. Raises NotFound where they can't be read."""
    try:
        if "://" not in source.location and not source.location.startswith(("file:", "mlflow-artifacts:")):
            shutil.copytree(source.location, folder, dirs_exist_ok=True)
        elif source.location.startswith("file:"):
            shutil.copytree(_local(source.location), folder, dirs_exist_ok=True)
        elif source.location.startswith("s3://"):
            fs.copy_files(source.location, str(folder))
        else:
            found = mlflow.artifacts.download_artifacts(
                artifact_uri=source.location, dst_path=str(folder), tracking_uri=settings.tracking_uri
            )
            if Path(found) != folder:  # MLflow makes a folder of the artifact's name
                shutil.copytree(found, folder, dirs_exist_ok=True)
                shutil.rmtree(found)
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotFound(f"model {source.uri!r} can't be read from {source.location}: {reason}") from None
    if not any(folder.iterdir()):
        raise NotFound(f"no {DESCRIPTION_FILE} at {source.location}")


def _local(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file:") else Path(uri)
