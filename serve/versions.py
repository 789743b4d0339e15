"""Deploys and removes versions: writes down what should be up, and tells Ray Serve all of it by its REST API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from ..platform.data import Store
from ..platform.errors import RayloopError, Unavailable
from ..platform.settings import Settings
from ..platform.state import Deployment
from ..platform.traffic import Split, app_name, app_prefix
from ..platform.workspace import Workspace
from .autoscaling import arguments_of, scaling_of
from .secret import edge_secret, known_secret
from .trust import edge_trust

READY_TIMEOUT_S = 180.0
EDGE_TIMEOUT_S = 5.0
_OURS = re.compile(r"rayloop\.[\w.]+\.[A-Z]\w+: ")  # an error of ours, whatever its class, as Python prints it
REQUEST_TIMEOUT_S = 30.0  # below the time for which another process waits for the database's write lock


class DeployFailed(RayloopError):
    """A version could not be brought up; what served before serves on."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas of a version answer, and how many should."""

    running: int
    wanted: int

    def __str__(self) -> str:
        return f"{self.running}/{self.wanted}"


def deploy_version(workspace: Workspace, wanted: Deployment, say: Callable[[str], None] = lambda _: None) -> None:
    """Bring one version up and wait until it answers through Serve's proxy; it gets no traffic by this.

    Raises DeployFailed where it can't be brought up; what was asked for before is asked for again then.
    """
    label = f"{wanted.endpoint} v{wanted.version}"
    deployed = {found.version: found for found in workspace.endpoints.deployments(wanted.endpoint)}
    before = deployed.get(wanted.version)
    if before != wanted:
        workspace.endpoints.add_deployment(wanted)
    say(f"bringing {label} up")
    try:
        apply_deployments(workspace)
        _wait_until_ready(workspace, wanted)
    except RayloopError:
        if before is None:
            workspace.endpoints.remove_deployment(wanted.endpoint, wanted.version)
        elif before != wanted:  # it may have traffic: it serves on as it was
            workspace.endpoints.add_deployment(before)
        if before != wanted:
            apply_deployments(workspace)
        raise


def scale_deployed(workspace: Workspace, endpoint: str, version: int, replicas: int) -> Deployment:
    """Give a version another number of replicas; those that stay are not restarted.

    Raises NotFound or Conflict where it can't be, and Unavailable where Serve can't be told: then nothing changes.
    """
    before, after = workspace.endpoints.scale_deployment(endpoint, version, replicas)
    try:
        apply_deployments(workspace)
    except RayloopError:
        if before != after:
            workspace.endpoints.scale_deployment(endpoint, version, int(before.options.get("replicas", 1)))
        raise
    return after


def remove_version(workspace: Workspace, endpoint: str, version: int) -> None:
    """Have a version without traffic taken down. Raises Conflict while it has traffic.

    It returns once Serve was told, which lets each replica end its requests, for at least 30 s, and stops it then.
    """
    workspace.endpoints.remove_deployment(endpoint, version)
    apply_deployments(workspace)


def apply_deployments(workspace: Workspace) -> None:
    """Tell Serve every application that should be up; what is up already is left alone.

    The set is read and sent under the database's write lock: an older set never overtakes a newer one.
    """
    with workspace.database.transaction():
        content = serve_config(workspace.settings, workspace.endpoints.deployments())
        _request("PUT", workspace.settings, content)


def wait_for_edge(settings: Settings, split: Split, timeout_s: float = EDGE_TIMEOUT_S) -> bool:
    """Wait until the edge answers by this revision of a split or a later one; false where it did not in time.

    The split is in force for the keeper once it is in SQL; whoever asks the edge right after wants it there too.
    """
    deadline = time.monotonic() + timeout_s
    url = f"{settings.edge_url}/v2/models/{split.endpoint}"
    secret = known_secret(Store(settings.store))  # where tokens are needed, ours is the secret
    headers = {"x-rayloop-secret": secret} if secret else {}
    with httpx.Client(timeout=2, headers=headers, verify=edge_trust(settings)) as client:
        while time.monotonic() < deadline:
            try:
                seen = client.get(url).headers.get("x-rayloop-revision", "")
            except httpx.ConnectError:
                return False  # no edge here; the keeper will tell it when there is one
            except httpx.HTTPError:
                seen = ""
            if seen.isdecimal() and int(seen) >= split.revision:
                return True
            time.sleep(0.02)
    return False


def serve_config(settings: Settings, deployments: list[Deployment]) -> dict[str, Any]:
    """The body of Serve's declarative API."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": settings.serve_port},
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "applications": [_application(found) for found in deployments],
    }


def application_states(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """What Serve says of each of its applications."""
    applications: Mapping[str, Mapping[str, Any]] = _request("GET", settings).get("applications", {})
    return applications


def replica_ids(states: Mapping[str, Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """The ids of the replicas that Serve keeps, and of those that it is stopping."""
    deployments = [found for state in states.values() for found in state.get("deployments", {}).values()]
    replicas = [replica for found in deployments for replica in found.get("replicas", [])]
    stopping = {str(replica["replica_id"]) for replica in replicas if replica["state"] == "STOPPING"}
    return {str(replica["replica_id"]) for replica in replicas} - stopping, stopping


def replicas_of(state: Mapping[str, Any]) -> Replicas:
    """Count the replicas in what Serve says of one application."""
    deployments = state.get("deployments", {}).values()
    running = sum(replica.get("state") == "RUNNING" for found in deployments for replica in found.get("replicas", []))
    return Replicas(running, sum(found.get("target_num_replicas") or 0 for found in deployments))


def _application(found: Deployment) -> dict[str, Any]:
    return {
        "name": app_name(found.endpoint, found.version),
        "route_prefix": app_prefix(found.endpoint, found.version),
        "import_path": "rayloop.serve.replica:build",
        "args": {
            "endpoint": found.endpoint,
            "version": found.version,
            "artifact": found.artifact,
            **arguments_of(found.options),
        },
        "deployments": [scaling_of(found.options)],
    }


def _wait_until_ready(workspace: Workspace, wanted: Deployment) -> None:
    name = app_name(wanted.endpoint, wanted.version)
    secret = edge_secret(workspace.store)
    proxy = f"http://127.0.0.1:{workspace.settings.serve_port}"
    ready = f"{proxy}{app_prefix(wanted.endpoint, wanted.version)}/ready"
    deadline = time.monotonic() + READY_TIMEOUT_S
    state: Mapping[str, Any] = {}
    while time.monotonic() < deadline:
        state = application_states(workspace.settings).get(name, {})
        if state.get("status") in {"DEPLOY_FAILED", "UNHEALTHY"}:
            raise DeployFailed(f"{wanted.endpoint} v{wanted.version} can't be served: {_reason(state)}")
        if state.get("status") == "RUNNING":
            # Serve says so about a second before its proxy knows the way.
            try:
                if httpx.get(ready, headers={"x-rayloop-secret": secret}, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
        time.sleep(0.1)
    seen = state.get("status", "unknown to Serve")
    raise DeployFailed(
        f"{wanted.endpoint} v{wanted.version} did not answer within {READY_TIMEOUT_S:.0f} s (it is {seen}): "
        "`rayloop status` shows whether the cluster has room for it"
    )


def _reason(state: Mapping[str, Any]) -> str:
    """The last line of what Serve quotes: the error that the replica raised."""
    messages = [str(state.get("message", ""))]
    messages += [str(found.get("message", "")) for found in state.get("deployments", {}).values()]
    lines = [line.strip() for text in messages for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line or _OURS.search(line)]
    return (errors or lines or ["Serve gives no reason"])[-1]


def _request(method: str, settings: Settings, content: Any = None) -> dict[str, Any]:
    url = f"{settings.address.rstrip('/')}/api/serve/applications/"
    try:
        answer = httpx.request(method, url, json=content, timeout=REQUEST_TIMEOUT_S)
    except httpx.HTTPError:
        raise Unavailable(f"no Ray cluster answers at {settings.address}: `rayloop up` starts one here") from None
    if answer.status_code != 200:
        said = answer.text.strip().splitlines()
        raise Unavailable(f"Ray Serve refused: {said[-1] if said else answer.status_code}")
    found: dict[str, Any] = answer.json() if answer.content and method == "GET" else {}
    return found
