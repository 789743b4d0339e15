"""A version as a Ray Serve application: loads the artifact, and answers the edge and Serve's own proxy."""

import logging
import os
import time
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from sqlalchemy.exc import SQLAlchemyError

from ..cluster.environment import MAX_BODY_BYTES, REPLICA_HOST
from ..platform.model.placement import Placement, place
from ..platform.model.predictor import load_predictor
from ..platform.scaling import LoadMeter
from ..platform.settings import Settings
from ..platform.workspace import Workspace
from .application import VersionApplication
from .autoscaling import DEPLOYMENT
from .batching import Batching
from .capture import Capture
from .presence import Presence
from .protocol import one_write
from .secret import edge_secret
from .service import VersionService
from .shadow import mirror_of
from .warm_up import warm_up

_logger = logging.getLogger(__name__)


class CaptureArguments(BaseModel):
    """What is logged, and when it is written; see `serve.capture` in the project file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample: float = 1.0
    flush_rows: int = 20_000
    flush_seconds: float = 0.5


class ReplicaArguments(BaseModel):
    """What Ray Serve passes to `build`, out of the application's configuration.

    The number of replicas is not among them: Serve restarts every replica when its arguments change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    version: int
    artifact: str
    cpus: float = 0.5
    gpus: float = 0.0
    max_batch_rows: int = 256
    batch_wait_ms: float = 0.0
    max_queue: int = 256
    request_timeout_s: float = 30.0
    capture: CaptureArguments = CaptureArguments()
    compile: bool = False
    cuda_graphs: bool = False
    origin: dict[str, str] | None = None
    """Of a model that a person named by --model: without it, nothing is loaded that could be a pickle."""

    def batching(self) -> Batching:
        """How requests wait and join."""
        return Batching(self.max_batch_rows, self.batch_wait_ms / 1e3, self.max_queue, self.request_timeout_s)

    def placement(self) -> Placement:
        """Where the model runs, and by what."""
        return Placement(self.gpus, self.max_batch_rows, self.compile, self.cuda_graphs)


@serve.deployment(name=DEPLOYMENT)
@serve.ingress()
class VersionReplica:
    """One process that holds one version."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        chosen = ReplicaArguments.model_validate(arguments)
        one_write.install()
        settings = Settings.load()
        workspace = Workspace(settings)
        replica_id = serve.get_replica_context().replica_id.unique_id
        grpc_body_bytes = MAX_BODY_BYTES if settings.edge_grpc_port else 0
        presence = Presence(workspace, replica_id, _listening_address(), grpc_body_bytes)
        model = load_predictor(chosen.artifact, chosen.origin["sha256"] if chosen.origin else None)
        model, faults = place(model, chosen.placement())
        for fault in faults:
            _logger.warning("%s v%d %s", chosen.endpoint, chosen.version, fault)
        warm_up(model)
        capture = Capture(
            chosen.endpoint,
            chosen.version,
            model.signature,
            workspace.capture_folder,
            flush_rows=chosen.capture.flush_rows,
            flush_seconds=chosen.capture.flush_seconds,
            sample=chosen.capture.sample,
        )
        self._meter = LoadMeter(time.monotonic())
        secret = edge_secret(workspace.store)
        service = VersionService(
            chosen.endpoint,
            chosen.version,
            model,
            secret,
            capture,
            max_body_bytes=MAX_BODY_BYTES,
            platform="mlflow" if chosen.origin else "rayloop",
            batching=chosen.batching(),
            mirror=mirror_of(settings, secret, ray.get_runtime_context().gcs_address),
        )
        self._application = VersionApplication(service, before_close=presence.end)
        self._presence = presence
        presence.begin(service)

    def check_health(self) -> None:
        """What Serve asks each two seconds; a replica whose listener has died is replaced."""
        try:
            self._presence.check()
        except SQLAlchemyError as error:  # the database is away: what the edge knows of this replica stays as it is
            _logger.warning("the edge can't be told of this replica: %s", error)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks each second where a version scales by its load; see `autoscaling`."""
        service = self._application.service
        counts = service.statistics
        answered = counts.success.count + counts.fail.count + counts.turned_away.count
        return self._meter.sample(service.ongoing, answered, time.monotonic())

    def __serve_build_asgi_app__(self) -> VersionApplication:
        return self._application


def _listening_address() -> str:
    """Loopback on a cluster of one machine; else the address by which this node joined."""
    if chosen := os.environ.get(REPLICA_HOST):
        return chosen
    own = ray.get_runtime_context().get_node_id()
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == own)


def build(arguments: ReplicaArguments) -> Application:
    """The Serve application of one version; named as `import_path` in its configuration."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    resources = {"num_cpus": arguments.cpus, "num_gpus": arguments.gpus}
    deployment = VersionReplica.options(  # type: ignore[attr-defined]
        ray_actor_options=resources,
        # Where requests come by Serve's proxy, the replica's own queue must be the one that refuses.
        max_ongoing_requests=max(256, arguments.max_queue),
        # A drained replica stays reachable for 30 s, and then ends its last requests.
        graceful_shutdown_timeout_s=60,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )
    return deployment.bind(arguments.model_dump())
