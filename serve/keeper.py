"""Keeps the edge of one node alive and its maps equal to the splits and tokens in SQL; decides no split itself."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ..cluster.environment import MAX_BODY_BYTES, REPLAY_BODY_BYTES
from ..platform.errors import RayloopError
from ..platform.settings import Settings
from ..platform.traffic import Sticky, app_name
from ..platform.workspace import Workspace
from .edge import Edge, EdgeReport, EdgeSettings, Traffic
from .secret import edge_secret
from .versions import application_states, replica_ids

PERIOD_S = 0.2
# Every change of a split is an entry of the ledger, so its newest number tells of one at once.
GLANCE_S = 0.01
FORGET_PERIOD_S = 2.0
DEFAULT_STICKY = Sticky("header", "x-session-id")

logger = logging.getLogger(__name__)


class EdgeKeeper:
    """Polls, decides, applies, five times a second and on each change; one on each proxy node, as a Ray actor."""

    def __init__(self, settings: Settings) -> None:
        self._workspace = Workspace(settings)
        self._edge = Edge(edge_settings(self._workspace), edge_folder(settings))
        self._last: EdgeReport | None = None
        self._error = ""
        threading.Thread(target=self._run, name="keep-edge", daemon=True).start()
        threading.Thread(target=self._forget_the_dead, name="forget-replicas", daemon=True).start()

    def step(self) -> EdgeReport:
        """Bring process and maps to the desired state once."""
        return self._edge.step(desired_traffic(self._workspace))

    def state(self) -> tuple[EdgeReport | None, str]:
        """The last step's report, and the error of the last one that failed since."""
        return self._last, self._error

    def _run(self) -> None:
        seen = 0
        while True:
            began_s = time.monotonic()
            try:
                seen = self._workspace.ledger.newest()
                self._last, self._error = self.step(), ""
                while time.monotonic() - began_s < PERIOD_S and self._workspace.ledger.newest() == seen:
                    time.sleep(GLANCE_S)
            except (RayloopError, SQLAlchemyError, OSError) as error:
                if str(error) != self._error:  # one line for each fault, not five a second
                    logger.warning("edge: %s", error)
                self._error = str(error)
                time.sleep(max(0.0, PERIOD_S - (time.monotonic() - began_s)))

    def _forget_the_dead(self) -> None:
        """Take out what replicas said of themselves that were killed, or are being stopped.

        The edge has found a killed one silent long before. One that drains could answer for half a minute more, but
        Serve counts none of its load.
        """
        while True:
            time.sleep(FORGET_PERIOD_S)
            try:
                kept, stopping = replica_ids(application_states(self._workspace.settings))
                self._workspace.replicas.drop(stopping)
                self._workspace.replicas.keep(kept)
            except (RayloopError, SQLAlchemyError) as error:
                logger.debug("replicas: %s", error)  # asked again soon; nothing is forgotten meanwhile


def desired_traffic(workspace: Workspace) -> Traffic:
    """What SQL says that the edge should serve, and to whom."""
    versions: dict[str, list[int]] = {}
    for deployed in workspace.endpoints.deployments():
        versions.setdefault(deployed.endpoint, []).append(deployed.version)
    sticky: dict[str, Sticky] = {}
    aliases: dict[str, str] = {}
    for name, serve in workspace.projects.served().items():
        wanted = serve.sticky.sticky()
        if wanted != DEFAULT_STICKY:  # the edge reads that one anyway
            sticky[name] = wanted
        for alias in serve.aliases:
            aliases.setdefault(alias, name)
    replicas: dict[str, list[str]] = {}
    grpc_replicas: dict[str, list[str]] = {}
    for replica in workspace.replicas.all():
        if replica.version in versions.get(replica.endpoint, ()):
            app = app_name(replica.endpoint, replica.version)
            replicas.setdefault(app, []).append(replica.address)
            if replica.grpc_address is not None:
                grpc_replicas.setdefault(app, []).append(replica.grpc_address)
    return Traffic(
        splits=tuple(workspace.endpoints.splits()),
        versions=versions,
        access=workspace.tokens.access(),
        sticky=sticky,
        aliases=aliases,
        replicas=replicas,
        grpc_replicas=grpc_replicas,
    )


def edge_folder(settings: Settings) -> Path:
    """The edge's own files; short, since a socket lies there, and apart for each home folder."""
    mark = sha256(str(settings.home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rayloop-edge-{mark}"


def control_socket(settings: Settings) -> Path:
    """Where the control API answers the edge; other users may not enter the folder."""
    return edge_folder(settings) / "control.sock"


def edge_settings(workspace: Workspace) -> EdgeSettings:
    """How the edge of this node listens, and where it sends requests."""
    settings, folder = workspace.settings, edge_folder(workspace.settings)
    return EdgeSettings(
        admin_socket=folder / "admin.sock",
        map_folder=folder,
        control_socket=control_socket(settings),
        secret=edge_secret(workspace.store),
        bind_host=settings.edge_host,
        bind_port=settings.edge_port,
        session_header=DEFAULT_STICKY.name,
        backend_address=f"127.0.0.1:{settings.serve_port}",
        max_body_bytes=MAX_BODY_BYTES,
        replay_body_bytes=REPLAY_BODY_BYTES,
        max_connections=settings.edge_connections,
        requests_per_s=settings.edge_requests_per_s,
        certificate=Path(settings.edge_certificate) if settings.edge_certificate else None,
        metrics_port=settings.edge_metrics_port,
        grpc_port=settings.edge_grpc_port,
        threads=1,
    )
