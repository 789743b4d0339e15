"""A version as a Ray Serve application: loads the artifact and hands it to the ASGI application."""

import os
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application

from ..cluster.environment import MAX_BODY_BYTES
from ..platform.data import Store
from ..platform.model.artifact import load_artifact
from ..platform.settings import Settings
from .application import VersionApplication
from .capture import Capture
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


@serve.deployment(name="Version")
@serve.ingress()
class VersionReplica:
    """One process that holds one version."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        chosen = ReplicaArguments.model_validate(arguments)
        one_write.install()
        settings = Settings.load()
        store = Store(settings.store)
        model = load_artifact(chosen.artifact)
        warm_up(model)
        capture = Capture(chosen.endpoint, chosen.version, model.signature, store.uri("capture"))
        secret = edge_secret(store)
        self._application = VersionApplication(
            chosen.endpoint,
            chosen.version,
            model,
            secret,
            capture,
            max_body_bytes=MAX_BODY_BYTES,
            mirror=mirror_of(settings, secret, ray.get_runtime_context().gcs_address),
        )

    def __serve_build_asgi_app__(self) -> VersionApplication:
        return self._application


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
