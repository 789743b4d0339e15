"""A version as a Ray Serve application: loads the artifact, and answers the edge and Serve's own proxy."""

import os
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application

from ..cluster.environment import MAX_BODY_BYTES
from ..platform.model.predictor import load_predictor
from ..platform.settings import Settings
from ..platform.workspace import Workspace
from .application import VersionApplication
from .capture import Capture
from .presence import Presence
from .protocol import one_write
from .secret import edge_secret
from .shadow import mirror_of
from .warm_up import warm_up


class ReplicaArguments(BaseModel):
    """What Ray Serve passes to `build`, out of the application's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    version: int
    artifact: str
    replicas: int = 1
    cpus: float = 0.5
    gpus: float = 0.0
    origin: dict[str, str] | None = None
    """Of a model that a person named by --model: without it, nothing is loaded that could be a pickle."""


@serve.deployment(name="Version")
@serve.ingress()
class VersionReplica:
    """One process that holds one version."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        chosen = ReplicaArguments.model_validate(arguments)
        one_write.install()
        settings = Settings.load()
        workspace = Workspace(settings)
        replica_id = serve.get_replica_context().replica_id.unique_id
        presence = Presence(workspace, replica_id, _node_address())
        model = load_predictor(chosen.artifact, chosen.origin["sha256"] if chosen.origin else None)
        warm_up(model)
        capture = Capture(chosen.endpoint, chosen.version, model.signature, workspace.capture_folder)
        secret = edge_secret(workspace.store)
        self._application = VersionApplication(
            chosen.endpoint,
            chosen.version,
            model,
            secret,
            capture,
            max_body_bytes=MAX_BODY_BYTES,
            platform="mlflow" if chosen.origin else "rayloop",
            mirror=mirror_of(settings, secret, ray.get_runtime_context().gcs_address),
            before_close=presence.end,
        )
        presence.begin(self._application.service)

    def __serve_build_asgi_app__(self) -> VersionApplication:
        return self._application


def _node_address() -> str:
    """The address by which this node joined the cluster: loopback alone on a cluster of one machine."""
    own = ray.get_runtime_context().get_node_id()
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == own)


def build(arguments: ReplicaArguments) -> Application:
    """The Serve application of one version; named as `import_path` in its configuration."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    resources = {"num_cpus": arguments.cpus, "num_gpus": arguments.gpus}
    deployment = VersionReplica.options(  # type: ignore[attr-defined]
        num_replicas=arguments.replicas,
        ray_actor_options=resources,
        max_ongoing_requests=256,
        # A drained replica stays reachable for 30 s, and then ends its last requests.
        graceful_shutdown_timeout_s=60,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )
    return deployment.bind(arguments.model_dump())
