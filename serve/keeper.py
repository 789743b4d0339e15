"""Keeps the edge of one node alive and its maps equal to the splits in SQL; decides no split itself."""

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
from ..platform.workspace import Workspace
from .edge import Edge, EdgeReport, EdgeSettings, Traffic
from .secret import edge_secret

PERIOD_S = 0.2

logger = logging.getLogger(__name__)


class EdgeKeeper:
    """Polls, decides, applies, five times a second; one on each proxy node, as a Ray actor."""

    def __init__(self, settings: Settings) -> None:
        self._workspace = Workspace(settings)
        self._edge = Edge(edge_settings(self._workspace), edge_folder(settings))
        self._last: EdgeReport | None = None
        self._error = ""
        threading.Thread(target=self._run, daemon=True).start()

    def step(self) -> EdgeReport:
        """Bring process and maps to the desired state once."""
        endpoints = self._workspace.endpoints
        versions: dict[str, list[int]] = {}
        for found in endpoints.deployments():
            versions.setdefault(found.endpoint, []).append(found.version)
        return self._edge.step(Traffic(tuple(endpoints.splits()), versions))

    def state(self) -> tuple[EdgeReport | None, str]:
        """The last step's report, and the error of the last one that failed since."""
        return self._last, self._error

    def _run(self) -> None:
        while True:
            began_s = time.monotonic()
            try:
                self._last, self._error = self.step(), ""
            except (RayloopError, SQLAlchemyError, OSError) as error:
                if str(error) != self._error:  # one line for each fault, not five a second
                    logger.warning("edge: %s", error)
                self._error = str(error)
            time.sleep(max(0.0, PERIOD_S - (time.monotonic() - began_s)))


def edge_folder(settings: Settings) -> Path:
    """The edge's own files; short, since a socket lies there, and apart for each home folder."""
    mark = sha256(str(settings.home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rayloop-edge-{mark}"


def edge_settings(workspace: Workspace) -> EdgeSettings:
    """How the edge of this node listens, and where it sends requests."""
    settings, folder = workspace.settings, edge_folder(workspace.settings)
    return EdgeSettings(
        admin_socket=folder / "admin.sock",
        map_folder=folder,
        secret=edge_secret(workspace.store),
        bind_host=settings.edge_host,
        bind_port=settings.edge_port,
        backend_address=f"127.0.0.1:{settings.serve_port}",
        max_body_bytes=MAX_BODY_BYTES,
        replay_body_bytes=REPLAY_BODY_BYTES,
        max_connections=2048,
        threads=1,
    )
