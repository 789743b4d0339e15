"""Owns the process of the control API: an actor that answers the edge on a socket which only its user may open."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from ...platform.errors import RayloopError, Unavailable
from ...platform.settings import Settings
from ...platform.workspace import Workspace
from ...serve.edge.files import make_folder
from ...serve.keeper import control_socket
from ...serve.secret import edge_secret

READY_TIMEOUT_S = 60.0
PAUSE_S = 1.0

logger = logging.getLogger(__name__)


class ControlServer:
    """Serves until it is killed; all it knows is in SQL, and its socket has one name, so it may die at any moment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float = READY_TIMEOUT_S) -> Path:
        """Wait until it answers; returns its socket. Raises Unavailable."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._server is not None and self._server.started:
                return control_socket(self._settings)
            time.sleep(0.02)
        raise Unavailable(f"the control service did not start within {timeout_s:g} s: its log says more")

    def close(self) -> None:
        """Answer what was asked, and stop."""
        self._is_closed = True
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._serve()
            except (RayloopError, SQLAlchemyError, OSError) as error:
                logger.warning("control: %s", error)
                time.sleep(PAUSE_S)

    def _serve(self) -> None:
        # The functions of the command line bring torch and MLflow along: seconds, for which no caller waits here.
        from .api import Api
        from .application import ControlApplication

        workspace, path = Workspace(self._settings), control_socket(self._settings)
        application = ControlApplication(Api(workspace), edge_secret(workspace.store))
        make_folder(path.parent)  # closed to other users, and with it the socket
        config = uvicorn.Config(
            application,
            uds=str(path),
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
        )
        self._server = uvicorn.Server(config)
        try:
            self._server.run()
        finally:
            application.close()
            workspace.close()
