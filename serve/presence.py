"""Owns how a replica makes itself known to the edge: where it listens, from when on, and until when."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from ..platform.errors import Unavailable
from ..platform.state import Replica
from ..platform.workspace import Workspace
from .listener import Listener
from .service import VersionService

if TYPE_CHECKING:
    from .grpc import GrpcServer

# The edge looks five times a second for who listens where.
NOTICE_S = 0.6


class Presence:
    """The listener of one replica, its gRPC server if it has one, and the row by which the edge finds it."""

    def __init__(self, workspace: Workspace, replica_id: str, host: str, grpc_body_bytes: int = 0) -> None:
        """Take a port of this host, and another for gRPC where its messages may have any bytes; nothing answers yet."""
        self._workspace, self._id = workspace, replica_id
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.bind((host, 0))
        port = self._socket.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._grpc: GrpcServer | None = None
        if grpc_body_bytes:
            from .grpc import GrpcServer  # it costs megabytes and milliseconds, for those alone who ask for it

            self._grpc = GrpcServer(host, grpc_body_bytes)
        # Whoever had the port before may be dead and still be known by it: requests for him must not come here.
        workspace.replicas.release(self.address, self._grpc_address)
        self._from_s = time.monotonic() + NOTICE_S
        self._listener: Listener | None = None
        self._said: Replica | None = None

    def begin(self, service: VersionService) -> None:
        """Listen, and say so."""
        time.sleep(max(0.0, self._from_s - time.monotonic()))
        self._listener = Listener(service, self._socket)
        if self._grpc is not None:
            self._grpc.begin(service, self._listener.loop)
        self._said = Replica(self._id, service.endpoint, service.version, self.address, self._grpc_address)
        self._workspace.replicas.add(self._said)

    def check(self) -> None:
        """Say it again where it was forgotten, as Serve's controller may once not have known of this replica.

        Raises Unavailable where the listener has died, which only a fault of ours could make it.
        """
        if self._listener is None or not self._listener.is_alive:
            raise Unavailable(f"the listener on {self.address} has died")
        said = self._said
        if said is not None and said not in self._workspace.replicas.all():
            self._workspace.replicas.add(said)

    def end(self) -> None:
        """Say that nobody listens here any more, end what is under way, and stop; blocks."""
        if self._listener is None:
            self._socket.close()
            if self._grpc is not None:
                self._grpc.close()
            return
        self._said = None
        try:
            self._workspace.replicas.release(self.address)
            time.sleep(NOTICE_S)
        finally:
            if self._grpc is not None:
                self._grpc.close()  # first, since it asks by the listener's loop
            self._listener.close()

    @property
    def _grpc_address(self) -> str | None:
        return None if self._grpc is None else self._grpc.address
