"""Owns a replica's own HTTP listener, which the edge asks without any server of Ray's between; HTTP/1.1, no TLS.

It runs on an event loop and a thread of its own, so that Serve's health checks wait for no inference. An answer is
one write: a process that is killed has sent all of it or nothing, and nothing can be asked for again elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote_to_bytes

import httptools
import uvloop

from ..platform.errors import RayloopError, Unavailable
from .protocol import Codec
from .protocol.arrival import Arrival, read_arrival
from .protocol.compression import BodyTooLarge
from .reply import Reply, refusal
from .service import VersionService

START_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 30.0
BACKLOG = 2048
MAX_HEAD_BYTES = 64 * 1024
MAX_PIPELINED = 64

MAX_KNOWN_NAMES = 256

_REASON = {status.value: status.phrase for status in HTTPStatus}
_NAMES: dict[bytes, str] = {}


class Listener:
    """The listener of one replica; `close` lets what is under way end."""

    def __init__(self, service: VersionService, bound: socket.socket) -> None:
        """Listen on a socket that is bound, and own it. Raises Unavailable where that fails."""
        self._service = service
        self._connections: set[_Connection] = set()
        self._loop = uvloop.new_event_loop()
        self._server: asyncio.AbstractServer | None = None
        self._error: Exception | None = None
        started = threading.Event()
        name = f"listen-{service.endpoint}--v{service.version}"
        self._thread = threading.Thread(target=self._run, args=(bound, started), name=name, daemon=True)
        self._thread.start()
        started.wait(START_TIMEOUT_S)
        if self._server is None:
            raise Unavailable(f"a replica cannot listen on {bound.getsockname()}: {self._error}")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop on which requests are answered, until `close`."""
        return self._loop

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Take no new connection, end the requests under way, close what is open, and stop the thread; blocks."""
        if not self.is_alive:
            return
        asyncio.run_coroutine_threadsafe(self._close(timeout_s), self._loop).result(timeout_s + START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_TIMEOUT_S)

    def _run(self, bound: socket.socket, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._server = self._loop.run_until_complete(self._listen(bound))
        except OSError as error:
            self._error = error
            self._loop.close()
            return
        finally:
            started.set()
        self._loop.run_forever()
        self._loop.close()
        bound.close()

    async def _listen(self, bound: socket.socket) -> asyncio.AbstractServer:
        self._service.use_lane()
        make = lambda: _Connection(self._service, self._loop, self._connections)  # noqa: E731
        return await self._loop.create_server(make, sock=bound, backlog=BACKLOG)

    async def _close(self, timeout_s: float) -> None:
        assert self._server is not None
        self._server.close()
        until_s = self._loop.time() + timeout_s
        for connection in list(self._connections):
            connection.finish()
        while self._connections and self._loop.time() < until_s:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()


@dataclass(slots=True, eq=False)
class _Exchange:
    """One request and, once it is there, its reply."""

    path: str
    headers: dict[str, str]
    arrival: Arrival
    opened: Reply | Codec
    body: bytearray
    is_last: bool
    reply: Reply | None = None
    drop: Callable[[], None] | None = None


class _Connection(asyncio.Protocol):
    """One connection: reads requests, answers them in their order."""

    def __init__(self, service: VersionService, loop: asyncio.AbstractEventLoop, connections: set[_Connection]) -> None:
        self._service, self._loop, self._connections = service, loop, connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._is_in_head = self._has_ended_one = False
        self._reading: _Exchange | None = None
        self._open: deque[_Exchange] = deque()
        self._is_finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass of it
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget what nobody can read any more."""
        self._connections.discard(self)
        self._transport = None
        for exchange in self._open:
            if exchange.drop is not None:
                exchange.drop()
        self._open.clear()

    def data_received(self, data: bytes) -> None:
        """Read; what is no HTTP is refused and the connection closed."""
        self._has_ended_one = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # it was answered all the same, as the last one
        except httptools.HttpParserError:
            self._refuse(400, "the request is not valid HTTP")
        if self._is_in_head and not self._has_ended_one:  # else the bytes are, or may be, those of a body
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"the head has more than the {MAX_HEAD_BYTES} bytes that are allowed")

    def finish(self) -> None:
        """Close once nothing is under way."""
        self._is_finishing = True
        if not self._open and self._reading is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the parser calls, in this order.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url, self._headers = b"", {}
        self._is_in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the path."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; of several with one name the last counts."""
        known = _NAMES.get(name)
        self._headers[known if known is not None else _named(name)] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Answer by the head, or get ready for the body."""
        self._is_in_head = False
        if self._transport is None or self._transport.is_closing():  # it was refused
            return
        headers = self._headers
        path = self._url.partition(b"?")[0]
        if b"%" in path:
            path = unquote_to_bytes(path)
        method = self._parser.get_method().decode("latin-1")
        where = path.decode("utf-8", "replace")
        opened = self._service.open(method, where, headers)
        is_last = not self._parser.should_keep_alive() or self._parser.should_upgrade()
        self._reading = _Exchange(where, headers, read_arrival(headers), opened, bytearray(), is_last)
        if not isinstance(opened, Reply):
            length = headers.get("content-length", "")
            self._check_size(int(length) if length.isdecimal() and len(length) < 20 else 0)
            if "expect" in headers:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; that of a request which is answered already is read and forgotten."""
        exchange = self._reading
        if exchange is not None and not isinstance(exchange.opened, Reply):
            exchange.body += body
            self._check_size(len(exchange.body))

    def on_message_complete(self) -> None:
        """Answer, or start the inference."""
        self._has_ended_one = True
        exchange, self._reading = self._reading, None
        if exchange is None:
            return
        self._open.append(exchange)
        opened = exchange.opened
        if isinstance(opened, Reply):
            self._settle(exchange, opened)
            return
        if len(self._open) > MAX_PIPELINED:
            self._settle(exchange, refusal(503, "too many requests are under way on one connection"))
            return

        def deliver(reply: Reply | Exception) -> None:
            if isinstance(reply, Exception):
                reply = self._service.turn_away(opened, reply, exchange.arrival)
            self._settle(exchange, reply)

        try:
            exchange.drop = self._service.start(
                opened, exchange.path, exchange.headers, exchange.body, exchange.arrival, deliver, self._loop
            )
        except RayloopError as error:
            deliver(error)

    def _settle(self, exchange: _Exchange, reply: Reply) -> None:
        """Write the reply, and those behind it that waited for it."""
        exchange.reply = reply
        while self._open and (written := self._open[0].reply) is not None and self._transport is not None:
            done = self._open.popleft()
            is_last = done.is_last or self._is_finishing
            self._transport.write(_written(written, is_last=is_last))
            if is_last:
                self._transport.close()
                return

    def _check_size(self, num_bytes: int) -> None:
        exchange = self._reading
        assert exchange is not None
        try:
            self._service.check_size(num_bytes)
        except BodyTooLarge as error:
            assert not isinstance(exchange.opened, Reply)
            reply = self._service.turn_away(exchange.opened, error, exchange.arrival)
            exchange.opened, exchange.is_last = reply, True  # what follows is not worth reading
            exchange.body.clear()

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer what has no exchange, and close."""
        self._reading = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_written(refusal(status, sentence), is_last=True))
            self._transport.close()


def _named(name: bytes) -> str:
    """The name of a header in lower case, kept for the next time while there is room."""
    lowered = name.decode("latin-1").lower()
    if len(_NAMES) < MAX_KNOWN_NAMES:
        _NAMES[name] = lowered
    return lowered


def _written(reply: Reply, *, is_last: bool) -> bytes:
    """The whole answer, for one write."""
    more = b"".join(b"%s: %s\r\n" % header for header in reply.headers)
    if is_last:
        more += b"connection: close\r\n"
    head = (
        f"HTTP/1.1 {reply.status} {_REASON.get(reply.status, 'Unknown')}\r\n"
        f"content-type: {reply.media_type}\r\ncontent-length: {len(reply.body)}\r\n"
    )
    return b"%s%s\r\n%s" % (head.encode("latin-1"), more, reply.body)
