"""Owns the ASGI application of one version: routes, the secret, limits, errors; it knows no Ray and no split.

The edge chose this version, so every request that carries the edge's secret is answered, and no other.
Decoding, predicting and encoding run on one thread of their own, so that the event loop stays free for health
checks however long the model takes; requests that come meanwhile are answered together, see `batching`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ..platform.errors import InvalidInput, Unavailable
from ..platform.model.signature import Columns, Predictor
from ..platform.traffic.split import app_prefix
from .batching import Batcher, Batching, Overloaded
from .capture import Capture, Record
from .protocol import Codec, Request, checked_outputs, metadata
from .protocol.arrival import REQUEST_ID_HEADER, Arrival, read_arrival
from .protocol.binary import LENGTH_HEADER
from .protocol.compression import MIN_COMPRESSED_BYTES, BodyTooLarge, asked_coding, compressed, decompressed
from .protocol.exchange import JSON_TYPE, Answer
from .protocol.mlflow import Mlflow, mlflow_version
from .protocol.route import Verb, routes
from .protocol.statistics import Statistics
from .protocol.v1 import V1
from .protocol.v2 import V2

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DEFAULT_MAX_BODY_BYTES = 16 * 1024 * 1024
SECRET_HEADER = "x-rayloop-secret"  # noqa: S105  the header's name
VERSION_HEADER = "x-rayloop-version"
RETRY_AFTER_S = 1

_TEXT_TYPE = "text/plain; charset=utf-8"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Reply:
    """A status and a body; `headers` come on top of those that every reply has, `error` is what the body says."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: str = JSON_TYPE
    error: str | None = None


class _Job:
    """One inference request on its way through the batcher's thread."""

    __slots__ = ("_application", "_arrival", "_body", "_codec", "_headers", "_request")

    def __init__(
        self,
        application: VersionApplication,
        codec: Codec,
        body: bytearray,
        headers: Mapping[str, str],
        arrival: Arrival,
    ) -> None:
        self._application, self._codec, self._body = application, codec, body
        self._headers, self._arrival = headers, arrival
        self._request: Request | None = None

    def read(self) -> Request:
        max_bytes = self._application.max_body_bytes
        content = decompressed(self._body, self._headers.get("content-encoding"), max_bytes)
        self._body = bytearray()
        self._request = self._codec.decode(content, self._headers)
        return self._request

    def reply(self, outputs: Columns | Exception) -> _Reply:
        """Encode and capture."""
        try:
            if isinstance(outputs, Exception):
                raise outputs
            assert self._request is not None
            answer = self._codec.encode(self._request, outputs, self._arrival.request_id)
            reply = self._packed(answer)
        except InvalidInput as error:
            reply = _refusal(error.status, str(error), self._codec)
        except Exception as error:
            _logger.exception("%s failed on %s", self._application.name, self._arrival.request_id)
            reply = _refusal(500, f"the model failed: {type(error).__name__}", self._codec)
        given = None if isinstance(outputs, Exception) else outputs
        self._application.record(self._arrival, reply, self._request, given)
        return reply

    def _packed(self, answer: Answer) -> _Reply:
        body, headers = answer.body, []
        if answer.header_length is not None:
            headers.append((LENGTH_HEADER.encode(), str(answer.header_length).encode()))
        coding = asked_coding(self._headers.get("accept-encoding"))
        if coding is not None and len(body) >= MIN_COMPRESSED_BYTES:
            body = compressed(body, coding)
            headers.append((b"content-encoding", coding.encode()))
        return _Reply(200, body, tuple(headers), answer.media_type)


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
        batching: Batching | None = None,
    ) -> None:
        """Raises InvalidInput for an empty secret, which every request without the header would match."""
        if not secret:
            raise InvalidInput("the secret is empty; it must be text that only the edge knows")
        self.name, self.max_body_bytes = f"version {version} of {endpoint!r}", max_body_bytes
        self.statistics = Statistics()
        self._endpoint, self._version, self._prefix = endpoint, version, app_prefix(endpoint, version)
        self._predictor, self._signature = predictor, predictor.signature
        self._secret, self._capture = secret.encode(), capture
        self._metadata = metadata(endpoint, [version], predictor.signature, platform)
        self._routes = routes(endpoint, version)
        self._codecs: Mapping[Verb, Codec] = {
            Verb.INFER: V2(endpoint, version, predictor.signature),
            Verb.PREDICT: V1(predictor.signature),
            Verb.INVOCATIONS: Mlflow(predictor.signature),
        }
        name = f"predict-{endpoint}--v{version}"
        self._batcher = Batcher[_Reply](self._predict, batching or Batching(), self.statistics, name)
        self._ongoing = 0

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

    @property
    def ongoing(self) -> int:
        """How many inference requests are in flight or waiting."""
        return self._ongoing

    def close(self) -> None:
        """Stop predicting and write what is captured; blocks, so never call it on the event loop."""
        self._batcher.close()
        if self._capture is not None:
            self._capture.close()

    def record(self, arrival: Arrival, reply: _Reply, request: Request | None, outputs: Columns | None) -> None:
        """Offer an answered request to the capture, if there is one."""
        if self._capture is None:
            return
        latency_ms = (time.perf_counter() - arrival.started_s) * 1e3
        if reply.error is None and request is not None:
            record = Record(arrival, latency_ms, reply.status, request.rows, None, request.columns, outputs)
        else:
            record = Record(arrival, latency_ms, reply.status, 1, reply.error, None, None)
        self._capture.offer(record)

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
        route = self._routes.get(path)
        if route is None:
            return _refusal(404, f"path {path[:200]!r} leads to nothing on {self.name}")
        if scope["method"] != route.method:
            reply = _refusal(405, f"method {scope['method']!r} is not allowed here; use {route.method}")
            return replace(reply, headers=((b"allow", route.method.encode()),))
        codec = self._codecs.get(route.verb)
        if codec is None:
            return self._tell(route.verb)
        self._ongoing += 1
        try:
            return await self._infer(codec, headers, receive, arrival)
        finally:
            self._ongoing -= 1

    def _tell(self, verb: Verb) -> _Reply:
        """Answer what needs no model."""
        match verb:
            case Verb.METADATA:
                return _Reply(200, self._metadata)
            case Verb.STATISTICS:
                return _Reply(200, self.statistics.written(self._endpoint, self._version))
            case Verb.STATUS:
                return _json(200, {"name": self._endpoint, "ready": True})
            case Verb.PING:
                return _Reply(200, b"\n", media_type=_TEXT_TYPE)
            case Verb.MLFLOW_VERSION:
                return _Reply(200, mlflow_version().encode(), media_type=_TEXT_TYPE)
            case _:
                return _json(200, {"name": self._endpoint, "version": str(self._version), "ready": True})

    async def _infer(
        self, codec: Codec, headers: Mapping[str, str], receive: Receive, arrival: Arrival
    ) -> _Reply | None:
        try:
            body = await self._read_body(headers, receive)
            if body is None:
                return None
            return await self._batcher.run(_Job(self, codec, body, headers, arrival))
        except (InvalidInput, Unavailable) as error:  # the job's own errors are in its reply
            reply = _refusal(error.status, str(error), codec)
            if isinstance(error, Overloaded):
                reply = replace(reply, headers=((b"retry-after", str(RETRY_AFTER_S).encode()),))
        self.statistics.turned_away.add(int((time.perf_counter() - arrival.started_s) * 1e9))
        self.record(arrival, reply, None, None)
        return reply

    async def _read_body(self, headers: Mapping[str, str], receive: Receive) -> bytearray | None:
        """Read the body; None where the client left early. Raises BodyTooLarge once it is too long."""
        length = headers.get("content-length", "")
        self._check_size(int(length) if length.isdecimal() and len(length) < 20 else 0)
        body = bytearray()  # not bytes: tensors that are read in place shall be writable, as torch asks
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            self._check_size(len(body))
            if not message.get("more_body", False):
                return body

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self.max_body_bytes:
            raise BodyTooLarge(self.max_body_bytes)

    def _predict(self, columns: Columns, rows: int) -> Columns:
        return checked_outputs(self._predictor.predict(columns), self._signature, rows)

    async def _send(self, reply: _Reply, request_id: str, send: Send) -> None:
        headers = [
            (b"content-type", reply.media_type.encode()),
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


def _refusal(status: int, sentence: str, codec: Codec | None = None) -> _Reply:
    body = orjson.dumps({"error": sentence}) if codec is None else codec.refuse(status, sentence)
    return _Reply(status, body, error=sentence)


def _without_prefix(path: str, root_path: str, app_path: str) -> str:
    """Cut the server's root and the app's own prefix from a path, where it has them."""
    for prefix in (root_path, app_path):
        if prefix and path.startswith(prefix + "/"):
            path = path[len(prefix) :]
    return path
