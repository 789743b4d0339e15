"""Deploys a model that a person names by URI, of any MLflow flavor, under an endpoint that has no project."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..platform.errors import Conflict, InvalidInput
from ..platform.model.folder import fetch_folder, folder_sha256, own_artifact
from ..platform.registry.source import ModelSource, download_model, find_model
from ..platform.state import Deployment
from ..platform.traffic import app_name
from ..platform.workspace import Workspace
from ..serve.versions import deploy_version, wait_for_edge
from .promotion import WHOLE
from .serving import Say


@dataclass(frozen=True, slots=True)
class Room:
    """How many replicas a version has, and what each of them takes."""

    replicas: int = 1
    cpus: float = 0.5
    gpus: float = 0.0

    def __post_init__(self) -> None:
        """Raises InvalidInput for a number out of range."""
        if self.replicas < 1:
            raise InvalidInput(f"--replicas is {self.replicas}; it must be 1 or more")
        for name in ("cpus", "gpus"):
            if not 0 <= getattr(self, name) <= 1024:
                raise InvalidInput(f"--{name} is {getattr(self, name)}; it must lie in 0..1024")

    def options(self) -> dict[str, Any]:
        """As a deployment keeps them."""
        return {"replicas": self.replicas, "cpus": self.cpus, "gpus": self.gpus}


def deploy_model(
    workspace: Workspace, name: str, uri: str, version: int | None, say: Say, room: Room | None = None
) -> Deployment:
    """Bring a model up as a version of an endpoint; the first one of an endpoint gets all traffic.

    Its files are copied into the store under their SHA-256, and replicas load that copy alone.

    Raises Conflict where the endpoint is a project's, or the number is another model's; InvalidInput where the
    model can't be served.
    """
    app_name(name, version or 1)  # refuses a name or a number that no application can have
    if name in workspace.projects.served():
        raise Conflict(f"endpoint {name!r} is a project's: give a model named by --model an endpoint of its own")
    source = find_model(workspace, uri)
    say(f"taking {uri} in from {source.location}")
    artifact, sha256 = take_in(workspace, source)
    number = choose_version(workspace, name, source, version, sha256)
    origin = {"model": uri, "source": source.location, "sha256": sha256}
    wanted = Deployment(name, number, artifact, {**(room or Room()).options(), "origin": origin})
    deploy_version(workspace, wanted, say)
    if all(split.endpoint != name for split in workspace.endpoints.splits()):
        split = workspace.endpoints.set_split(name, {number: WHOLE}, "first version of the endpoint")
        wait_for_edge(workspace.settings, split)
        say(f"{name} v{number} has all traffic")
    else:
        say(f"{name} v{number} is up; `rayloop split {name} ...` parts the traffic")
    return wanted


def take_in(workspace: Workspace, source: ModelSource) -> tuple[str, str]:
    """Copy a model into the store, once; gives its URI there and its SHA-256. Nothing of it is loaded.

    Raises NotFound where it can't be read, InvalidInput where such a model can't be served.
    """
    with tempfile.TemporaryDirectory(prefix="rayloop-model-") as scratch:
        folder = Path(scratch)
        download_model(workspace.settings, source, folder)
        fetch_folder(scratch)
        if own_artifact(folder) is None:
            from ..platform.model.foreign import check_description

            check_description(folder)
        sha256 = folder_sha256(folder)
        return workspace.store.put_folder(f"models/{sha256}", folder), sha256


def choose_version(workspace: Workspace, name: str, source: ModelSource, asked: int | None, sha256: str) -> int:
    """The registered number, or the one asked for, or that of the same files, or else the next.

    Raises InvalidInput where two numbers are given, Conflict where it is another model's.
    """
    if source.version is not None and asked not in {None, source.version}:
        raise InvalidInput(f"--version {asked} is not the number of {source.uri}, which is version {source.version}")
    known = {found.version: _origin(found)["sha256"] for found in workspace.endpoints.deployments(name)}
    number = source.version or asked
    if number is None:
        same = [version for version, found in known.items() if found == sha256]
        return same[-1] if same else workspace.endpoints.next_version(name)
    if known.get(number, sha256) != sha256:
        raise Conflict(f"{name} v{number} is another model: undeploy that version first, or give another endpoint")
    return number


def _origin(found: Deployment) -> Mapping[str, str]:
    if found.origin is None:
        raise Conflict(f"endpoint {found.endpoint!r} serves a project: choose another name")
    return found.origin
