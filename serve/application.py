"""Owns the ASGI application of one version, by which Ray Serve asks it; what it answers is the service's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from ..platform.errors import RayloopError
from .protocol import Codec
from .protocol.arrival import REQUEST_ID_HEADER, Arrival, read_arrival
from .reply import Reply
from .service import VersionService

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

VERSION_HEADER = "x-rayloop-version"


class VersionApplication:
    """An ASGI 3 application that answers for one version of one endpoint.

    Behind Ray Serve, call `protocol.one_write.install()` in the replica's constructor too. An answer is
    handed over as a head with its length and exactly one body, without a pause between; that is all that ASGI
    allows, and uvicorn alone would still write the two apart.
    """

    def __init__(self, service: VersionService, before_close: Callable[[], None] = lambda: None) -> None:
        """`before_close` ends what else asks the service."""
        self.service, self._before_close = service, before_close

    def close(self) -> None:
        """Stop predicting and write what is captured; blocks, so never call it on the event loop."""
        try:
            self._before_close()
        finally:
            self.service.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or run the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        arrival = read_arrival(headers)
        reply = await self._reply(scope, headers, receive, arrival)
        if reply is not None:
            await self._send(reply, arrival.request_id, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await asyncio.to_thread(self.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _reply(
        self, scope: Mapping[str, Any], headers: Mapping[str, str], receive: Receive, arrival: Arrival
    ) -> Reply | None:
        """Choose the reply; None where the client left before its request was whole."""
        path, root_path = scope["path"], scope.get("root_path", "")
        if root_path and path.startswith(root_path + "/"):
            path = path[len(root_path) :]
        opened = self.service.open(scope["method"], path, headers)
        return opened if isinstance(opened, Reply) else await self._infer(opened, path, headers, receive, arrival)

    async def _infer(
        self, codec: Codec, path: str, headers: Mapping[str, str], receive: Receive, arrival: Arrival
    ) -> Reply | None:
        try:
            body = await self._read_body(headers, receive)
            return None if body is None else await self.service.answer(codec, path, headers, body, arrival)
        except RayloopError as error:  # the model's own errors are in its reply
            return self.service.turn_away(codec, error, arrival)

    async def _read_body(self, headers: Mapping[str, str], receive: Receive) -> bytearray | None:
        """Read the body; None where the client left early. Raises BodyTooLarge once it is too long."""
        length = headers.get("content-length", "")
        self.service.check_size(int(length) if length.isdecimal() and len(length) < 20 else 0)
        body = bytearray()  # not bytes: tensors that are read in place shall be writable, as torch asks
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            self.service.check_size(len(body))
            if not message.get("more_body", False):
                return body

    async def _send(self, reply: Reply, request_id: str, send: Send) -> None:
        headers = [
            (b"content-type", reply.media_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            (REQUEST_ID_HEADER.encode(), request_id.encode("latin-1")),
            (VERSION_HEADER.encode(), str(self.service.version).encode()),
            *reply.headers,
        ]
        # Nothing may be awaited between the two, so that `one_write` can join them: see the class.
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})
