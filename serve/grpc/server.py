"""Owns a replica's gRPC server: its port, its threads and its end; what it answers is `calls`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc

from ...platform.errors import Unavailable
from ..service import VersionService
from .calls import Calls

# gRPC's server for asyncio would be the second one of the process, beside Ray's, and two such loops wake each other
# for nothing. A thread waits for each call under way; further calls wait for a thread.
THREADS = 64
MAX_CALLS = 512
MAX_METADATA_BYTES = 64 * 1024
CLOSE_TIMEOUT_S = 30.0


class GrpcServer:
    """The server of one replica."""

    def __init__(self, host: str, max_body_bytes: int) -> None:
        """Take a port of this host; nothing is answered yet. Raises Unavailable where there is none."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._threads,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ],
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        host = f"[{host}]" if ":" in host else host
        try:
            self.address = f"{host}:{self._server.add_insecure_port(f'{host}:0')}"
        except RuntimeError as error:
            raise Unavailable(f"a replica cannot listen for gRPC on {host}: {error}") from error

    def begin(self, service: VersionService, loop: asyncio.AbstractEventLoop) -> None:
        """Answer; `loop` runs the service, and must do so until `close` is done."""
        self._server.add_generic_rpc_handlers((Calls(service, loop),))
        self._server.start()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Take no new call and end those under way; blocks."""
        self._server.stop(timeout_s).wait(timeout_s)
        self._threads.shutdown(wait=False)
