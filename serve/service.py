"""Owns what one version answers: routes, the secret, limits, errors, capture; it knows no server and no Ray.

The edge chose this version, so every request that carries the edge's secret is answered, and no other. A server
opens a request by its head, reads the body of an inference, and starts it; see `application` and `listener`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..platform.errors import InvalidInput, RayloopError
from ..platform.model.signature import Columns, Predictor
from ..platform.traffic.split import app_prefix
from .batching import Batcher, Batching, Overloaded
from .capture import Capture, Record
from .protocol import Codec, Request, checked_outputs, metadata
from .protocol.arrival import Arrival
from .protocol.binary import LENGTH_HEADER
from .protocol.compression import MIN_COMPRESSED_BYTES, BodyTooLarge, asked_coding, compressed, decompressed
from .protocol.configuration import configuration
from .protocol.exchange import Answer
from .protocol.mlflow import Mlflow, mlflow_version
from .protocol.openapi import version_document
from .protocol.route import Route, Verb, routes
from .protocol.statistics import Statistics
from .protocol.v1 import V1
from .protocol.v2 import V2
from .reply import TEXT_TYPE, Reply, json_reply, refusal
from .shadow import SHADOW_HEADER, Mirror

DEFAULT_MAX_BODY_BYTES = 16 * 1024 * 1024
SECRET_HEADER = "x-rayloop-secret"  # noqa: S105  the header's name
RETRY_AFTER_S = 1

Headers = Mapping[str, str]
Deliver = Callable[[Reply | Exception], None]

_logger = logging.getLogger(__name__)


class _Job:
    """One inference request on its way through the batcher."""

    __slots__ = ("_arrival", "_body", "_codec", "_copy", "_headers", "_path", "_request", "_service")

    def __init__(
        self,
        service: VersionService,
        codec: Codec,
        path: str,
        headers: Headers,
        body: bytes | bytearray,
        arrival: Arrival,
    ) -> None:
        self._service, self._codec, self._path, self._body = service, codec, path, body
        self._headers, self._arrival = headers, arrival
        self._request: Request | None = None
        self._copy: bytes | None = None

    def read(self) -> Request:
        if SHADOW_HEADER in self._headers:
            self._copy = bytes(self._body)  # now, as a model may write into the body
        content = self._body
        if "content-encoding" in self._headers:
            content = decompressed(content, self._headers["content-encoding"], self._service.max_body_bytes)
        self._body = b""
        self._request = self._codec.decode(content, self._headers)
        return self._request

    def reply(self, outputs: Columns | Exception) -> Reply:
        """Encode and capture."""
        try:
            if isinstance(outputs, Exception):
                raise outputs
            assert self._request is not None
            reply = self._packed(self._codec.encode(self._request, outputs, self._arrival.request_id))
        except InvalidInput as error:
            reply = refusal(error.status, str(error), self._codec)
        except Exception as error:
            _logger.exception("%s failed on %s", self._service.name, self._arrival.request_id)
            reply = refusal(500, f"the model failed: {type(error).__name__}", self._codec)
        given = None if isinstance(outputs, Exception) else outputs
        self._service.record(self._arrival, reply, self._request, given)
        if self._copy is not None:
            self._service.copy_to_shadows(self._path, self._headers, self._copy, self._arrival)
        return reply

    def _packed(self, answer: Answer) -> Reply:
        body, headers = answer.body, []
        if answer.header_length is not None:
            headers.append((LENGTH_HEADER.encode(), str(answer.header_length).encode()))
        coding = asked_coding(self._headers.get("accept-encoding"))
        if coding is not None and len(body) >= MIN_COMPRESSED_BYTES:
            body = compressed(body, coding)
            headers.append((b"content-encoding", coding.encode()))
        return Reply(200, body, tuple(headers), answer.media_type)


class VersionService:
    """Answers for one version of one endpoint, over any server."""

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
        mirror: Mirror | None = None,
    ) -> None:
        """Raises InvalidInput for an empty secret, which every request without the header would match."""
        if not secret:
            raise InvalidInput("the secret is empty; it must be text that only the edge knows")
        self.name, self.max_body_bytes = f"version {version} of {endpoint!r}", max_body_bytes
        self.endpoint, self.version = endpoint, version
        self.statistics = Statistics()
        self._predictor, self._signature = predictor, predictor.signature
        self._secret, self._capture, self._mirror = secret, capture, mirror
        self._platform = platform
        self._metadata = metadata(endpoint, [version], predictor.signature, platform)
        codecs: Mapping[Verb, Codec] = {
            Verb.INFER: V2(endpoint, version, predictor.signature),
            Verb.PREDICT: V1(predictor.signature),
            Verb.INVOCATIONS: Mlflow(predictor.signature),
        }
        self._prefix = prefix = app_prefix(endpoint, version)
        self._routes: dict[str, tuple[Route, Codec | None]] = {}
        for path, route in routes(endpoint, version).items():
            self._routes[path] = self._routes[prefix + path] = (route, codecs.get(route.verb))
        name = f"predict-{endpoint}--v{version}"
        self._batcher = Batcher[Reply](self._predict, batching or Batching(), self.statistics, name)

    @property
    def ongoing(self) -> int:
        """Requests that wait for the model or are with it."""
        return self._batcher.ongoing

    def use_lane(self) -> None:
        """Let quick batches run on the event loop that calls this."""
        self._batcher.use_lane()

    def open(self, method: str, path: str, headers: Headers) -> Reply | Codec:
        """Answer a request by its head, or give the codec of the inference that its body asks for."""
        secret = headers.get(SECRET_HEADER, "")
        if secret != self._secret and not hmac.compare_digest(secret.encode("latin-1"), self._secret.encode()):
            return refusal(403, f"only the edge may call a version; header {SECRET_HEADER!r} is missing or wrong")
        route, codec = self._routes.get(path, (None, None))
        if route is None:
            return refusal(404, f"path {path[:200]!r} leads to nothing on {self.name}")
        if method != route.method:
            sentence = f"method {method!r} is not allowed here; use {route.method}"
            return refusal(405, sentence, headers=((b"allow", route.method.encode()),))
        return self._tell(route.verb) if codec is None else codec

    async def answer(
        self, codec: Codec, path: str, headers: Headers, body: bytes | bytearray, arrival: Arrival
    ) -> Reply:
        """Answer an inference. Raises a RayloopError, for `turn_away`, where a bound kept the model from it."""
        return await self._batcher.run(_Job(self, codec, path, headers, body, arrival))

    def start(
        self,
        codec: Codec,
        path: str,
        headers: Headers,
        body: bytes | bytearray,
        arrival: Arrival,
        deliver: Deliver,
        loop: asyncio.AbstractEventLoop,
    ) -> Callable[[], None]:
        """Begin an inference whose reply, or error as of `answer`, goes to `deliver` on `loop`; what is given drops it.

        Raises the same errors where the request is refused at once.
        """
        return self._batcher.submit(_Job(self, codec, path, headers, body, arrival), deliver, loop).drop

    def turn_away(self, codec: Codec, error: Exception, arrival: Arrival) -> Reply:
        """Refuse an inference that the model never answered, and count and capture it."""
        headers = ((b"retry-after", str(RETRY_AFTER_S).encode()),) if isinstance(error, Overloaded) else ()
        status = error.status if isinstance(error, RayloopError) else 500
        reply = refusal(status, str(error), codec, headers)
        self.statistics.turned_away.add(int((time.perf_counter() - arrival.started_s) * 1e9))
        self.record(arrival, reply, None, None)
        return reply

    def check_size(self, num_bytes: int) -> None:
        """Raise BodyTooLarge where a body is longer than this version reads."""
        if num_bytes > self.max_body_bytes:
            raise BodyTooLarge(self.max_body_bytes)

    def close(self) -> None:
        """Stop predicting and write what is captured; blocks, so never call it on an event loop."""
        self._batcher.close()
        if self._capture is not None:
            self._capture.close()
        if self._mirror is not None:
            self._mirror.close()

    def copy_to_shadows(self, path: str, headers: Headers, body: bytes, arrival: Arrival) -> None:
        """Offer an answered request to the shadows that its headers name, if there is a mirror."""
        if self._mirror is not None:
            self._mirror.offer(path.removeprefix(self._prefix), headers, body, arrival, headers[SHADOW_HEADER])

    def record(self, arrival: Arrival, reply: Reply, request: Request | None, outputs: Columns | None) -> None:
        """Offer an answered request to the capture, if there is one."""
        if self._capture is None:
            return
        latency_ms = (time.perf_counter() - arrival.started_s) * 1e3
        if reply.error is None and request is not None:
            record = Record(arrival, latency_ms, reply.status, request.rows, None, request.columns, outputs)
        else:
            record = Record(arrival, latency_ms, reply.status, 1, reply.error, None, None)
        self._capture.offer(record)

    def _tell(self, verb: Verb) -> Reply:
        """Answer what needs no model."""
        match verb:
            case Verb.METADATA:
                return Reply(200, self._metadata)
            case Verb.STATISTICS:
                return Reply(200, self.statistics.written(self.endpoint, self.version, self._own_counts()))
            case Verb.CONFIGURATION:
                return Reply(200, configuration(self.endpoint, self._signature, self._platform))
            case Verb.DOCUMENT:
                return Reply(200, version_document(self.endpoint, self.version, self._signature))
            case Verb.STATUS:
                return json_reply(200, {"name": self.endpoint, "ready": True})
            case Verb.PING:
                return Reply(200, b"\n", media_type=TEXT_TYPE)
            case Verb.MLFLOW_VERSION:
                return Reply(200, mlflow_version().encode(), media_type=TEXT_TYPE)
            case _:
                return json_reply(200, {"name": self.endpoint, "version": str(self.version), "ready": True})

    def _own_counts(self) -> dict[str, object]:
        counted = {"capture": self._capture, "mirror": self._mirror}
        return {name: part.counters() for name, part in counted.items() if part is not None}

    def _predict(self, columns: Columns, rows: int, params: Mapping[str, Any] | None = None) -> Columns:
        ask = self._predictor.predict
        return checked_outputs(ask(columns) if params is None else ask(columns, params), self._signature, rows)
