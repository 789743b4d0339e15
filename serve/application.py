"""Owns the ASGI application of one version: routes, the secret, limits, errors; it knows no Ray and no split.

The edge chose this version, so every request that carries the edge's secret is answered, and no other.
Decoding, predicting and encoding run on one thread of their own, one request at a time, so that the event
loop stays free for health checks however long the model takes.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ..platform.errors import InvalidInput
from ..platform.model.signature import Columns, Predictor
from ..platform.traffic.split import app_prefix
from .capture import Capture, Record
from .protocol import V2Request, checked_outputs, decode, encode, metadata
from .protocol.arrival import REQUEST_ID_HEADER, Arrival, read_arrival

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DEFAULT_MAX_BODY_BYTES = 16 * 1024 * 1024
SECRET_HEADER = "x-rayloop-secret"  # noqa: S105  the header's name
VERSION_HEADER = "x-rayloop-version"
BINARY_HEADER = "inference-header-content-length"

_ROUTE = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<verb>/infer|/ready|)")
_METHOD = {"/infer": "POST", "/ready": "GET", "": "GET"}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Reply:
    """A status and a JSON body; `headers` come on top of those that every reply has."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _BodyTooLarge(InvalidInput):
    """The body is longer than this version reads."""

    status = 413


class VersionApplication:
    """An ASGI 3 application that answers for one version of one endpoint.

    Behind Ray Serve, call `protocol.one_write.install()` in the replica's constructor too. An answer is
    handed over as a head with its length and exactly one body, without a pause between; that is all that ASGI
    allows, and uvicorn alone would still write the two apart.
    """

    def __init__(
        self,
        endpoint: str,
        version: int,
        predictor: Predictor,
        secret: str,
        capture: Capture | None = None,
        *,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        platform: str = "rayloop",
    ) -> None:
        """Raises InvalidInput for an empty secret, which every request without the header would match."""
        if not secret:
            raise InvalidInput("the secret is empty; it must be text that only the edge knows")
        self._endpoint, self._version, self._prefix = endpoint, version, app_prefix(endpoint, version)
        self._predictor, self._signature = predictor, predictor.signature
        self._secret, self._capture, self._max_body_bytes = secret.encode(), capture, max_body_bytes
        self._metadata = metadata(endpoint, [version], predictor.signature, platform)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"predict-{endpoint}--v{version}")

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

    def close(self) -> None:
        """Stop predicting and write what is captured; blocks, so never call it on the event loop."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._capture is not None:
            self._capture.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await asyncio.to_thread(self.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _reply(
        self, scope: Mapping[str, Any], headers: Mapping[str, str], receive: Receive, arrival: Arrival
    ) -> _Reply | None:
        """Choose the reply; None where the client left before its request was whole."""
        if not hmac.compare_digest(headers.get(SECRET_HEADER, "").encode("latin-1"), self._secret):
            return _refusal(403, f"only the edge may call a version; header {SECRET_HEADER!r} is missing or wrong")
        path = _without_prefix(scope["path"], scope.get("root_path", ""), self._prefix)
        verb = "/ready" if path == "/ready" else self._route(path)
        if verb is None:
            return _refusal(
                404, f"path {path[:200]!r} leads to nothing on version {self._version} of {self._endpoint!r}"
            )
        if scope["method"] != _METHOD[verb]:
            reply = _refusal(405, f"method {scope['method']!r} is not allowed here; use {_METHOD[verb]}")
            return replace(reply, headers=((b"allow", _METHOD[verb].encode()),))
        if verb == "":
            return _Reply(200, self._metadata)
        if verb == "/ready":
            return _json(200, {"name": self._endpoint, "version": str(self._version), "ready": True})
        return await self._infer(headers, receive, arrival)

    def _route(self, path: str) -> str | None:
        match = _ROUTE.fullmatch(path)
        if match is None or match["model"] != self._endpoint or match["version"] not in (None, str(self._version)):
            return None
        return match["verb"]

    async def _infer(self, headers: Mapping[str, str], receive: Receive, arrival: Arrival) -> _Reply | None:
        try:
            body = await self._read_body(headers, receive)
        except InvalidInput as error:
            reply = _refusal(error.status, str(error))
            self._record(arrival, reply, None, None)
            return reply
        if body is None:
            return None
        try:
            job = asyncio.get_running_loop().run_in_executor(self._executor, self._answer, body, arrival)
        except RuntimeError:  # the executor is shut down
            return _refusal(503, f"version {self._version} of {self._endpoint!r} is shutting down")
        return await job

    async def _read_body(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        """Read the body; None where the client left early. Raises InvalidInput once it is too long."""
        if BINARY_HEADER in headers:
            raise InvalidInput(f"header {BINARY_HEADER!r} marks binary tensors; only JSON is accepted")
        length = headers.get("content-length", "")
        self._check_size(int(length) if length.isdecimal() and len(length) < 20 else 0)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            self._check_size(len(body))
            if not message.get("more_body", False):
                return bytes(body)

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._max_body_bytes:
            raise _BodyTooLarge(f"the body has more than the {self._max_body_bytes} bytes that are allowed")

    def _answer(self, body: bytes, arrival: Arrival) -> _Reply:
        """Decode, predict, encode and capture; runs on the executor's thread."""
        request: V2Request | None = None
        outputs: Columns | None = None
        try:
            request = decode(body, self._signature)
            outputs = checked_outputs(self._predictor.predict(request.columns), self._signature, request.rows)
            reply = _Reply(200, self._encode(request, outputs, arrival.request_id))
        except InvalidInput as error:
            reply = _refusal(error.status, str(error))
        except Exception as error:
            _logger.exception("version %d of %s failed on %s", self._version, self._endpoint, arrival.request_id)
            reply = _refusal(500, f"the model failed: {type(error).__name__}")
        self._record(arrival, reply, request, outputs)
        return reply

    def _encode(self, request: V2Request, outputs: Columns, request_id: str) -> bytes:
        signature = self._signature
        if request.outputs:
            wanted = tuple(column for column in signature.outputs if column.name in request.outputs)
            signature = replace(signature, outputs=wanted)
        return encode(self._endpoint, self._version, request.id or request_id, outputs, signature)

    def _record(self, arrival: Arrival, reply: _Reply, request: V2Request | None, outputs: Columns | None) -> None:
        if self._capture is None:
            return
        latency_ms = (time.perf_counter() - arrival.started_s) * 1e3
        if reply.status < 400 and request is not None:
            record = Record(arrival, latency_ms, reply.status, request.rows, None, request.columns, outputs)
        else:
            record = Record(arrival, latency_ms, reply.status, 1, orjson.loads(reply.body)["error"], None, None)
        self._capture.offer(record)

    async def _send(self, reply: _Reply, request_id: str, send: Send) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(reply.body)).encode()),
            (REQUEST_ID_HEADER.encode(), request_id.encode("latin-1")),
            (VERSION_HEADER.encode(), str(self._version).encode()),
            *reply.headers,
        ]
        # Nothing may be awaited between the two, so that `one_write` can join them: see the class.
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})


def _json(status: int, value: object) -> _Reply:
    return _Reply(status, orjson.dumps(value))


def _refusal(status: int, sentence: str) -> _Reply:
    return _json(status, {"error": sentence})


def _without_prefix(path: str, root_path: str, app_path: str) -> str:
    """Cut the server's root and the app's own prefix from a path, where it has them."""
    for prefix in (root_path, app_path):
        if prefix and path.startswith(prefix + "/"):
            path = path[len(prefix) :]
    return path
