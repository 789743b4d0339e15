"""Owns what a version answers to each gRPC call, by asking the service as HTTP would; it starts no server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from typing import Any, NoReturn

import grpc
import orjson

from ... import __version__
from ...platform.errors import RayloopError
from ..protocol.arrival import REQUEST_ID_HEADER, read_arrival
from ..protocol.binary import LENGTH_HEADER
from ..reply import Reply
from ..service import VersionService
from .messages import (
    SERVICE,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from .tensors import read_request, to_body, to_response

# What else a client sends may speak of its own body, and the body that V2 reads is made here.
_KEPT = ("x-rayloop-", REQUEST_ID_HEADER)

_Code = grpc.StatusCode
_CODES: Mapping[int, Any] = {
    400: _Code.INVALID_ARGUMENT,
    403: _Code.UNAUTHENTICATED,
    404: _Code.NOT_FOUND,
    413: _Code.RESOURCE_EXHAUSTED,
    415: _Code.INVALID_ARGUMENT,
    503: _Code.UNAVAILABLE,
}


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The calls of one version; each blocks a thread of the server's while `loop` has the service answer.

    Messages come and go as bytes: where gRPC reads them itself, one that it can't read is its INTERNAL.
    """

    def __init__(self, service: VersionService, loop: asyncio.AbstractEventLoop) -> None:
        self._service, self._loop = service, loop
        self._path = f"/v2/models/{service.endpoint}"
        self._methods: dict[str, Callable[[bytes, Any], bytes]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }

    def service(self, handler_call_details: Any) -> Any:
        """Give the handler of a call, None where there is none; gRPC says UNIMPLEMENTED then."""
        package, _, name = handler_call_details.method.removeprefix("/").partition("/")
        method = self._methods.get(name) if package == SERVICE else None
        return None if method is None else grpc.unary_unary_rpc_method_handler(method)

    def _server_live(self, content: bytes, context: Any) -> bytes:  # noqa: ARG002
        self._open("GET", "/ready", context)
        return _written(ServerLiveResponse(live=True))

    def _server_ready(self, content: bytes, context: Any) -> bytes:  # noqa: ARG002
        self._open("GET", "/ready", context)
        return _written(ServerReadyResponse(ready=True))

    def _server_metadata(self, content: bytes, context: Any) -> bytes:  # noqa: ARG002
        self._open("GET", "/ready", context)
        return _written(ServerMetadataResponse(name="rayloop", version=__version__))

    def _model_ready(self, content: bytes, context: Any) -> bytes:  # noqa: ARG002
        self._check_place(self._open("GET", "/ready", context)[1], context)
        return _written(ModelReadyResponse(ready=True))

    def _model_metadata(self, content: bytes, context: Any) -> bytes:  # noqa: ARG002
        told, headers = self._open("GET", "", context)
        self._check_place(headers, context)
        assert isinstance(told, Reply)
        return _written(ModelMetadataResponse(**orjson.loads(told.body)))

    def _model_infer(self, content: bytes, context: Any) -> bytes:
        codec, headers = self._open("POST", "/infer", context)
        self._check_place(headers, context)
        assert not isinstance(codec, Reply)
        arrival = read_arrival(headers)
        try:
            request = read_request(content)
            is_raw = bool(request.raw_input_contents)
            body, header_length = to_body(request)
            self._service.check_size(len(body))
            headers[LENGTH_HEADER] = str(header_length)
            asked = self._service.answer(codec, f"{self._path}/infer", headers, body, arrival)
            reply = self._wait(asked, context)
        except RayloopError as error:
            reply = self._service.turn_away(codec, error, arrival)
        if reply.status != 200:
            _refuse(reply, context)
        answered = dict(reply.headers)
        return to_response(reply.body, int(answered[LENGTH_HEADER.encode()]), is_raw=is_raw)

    def _wait(self, asked: Any, context: Any) -> Reply:
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        context.add_callback(future.cancel)  # called when the call ends, however it does
        try:
            reply: Reply = future.result()
        except CancelledError:
            context.abort(_Code.CANCELLED, "nobody waits for the answer any more")
        return reply

    def _open(self, method: str, suffix: str, context: Any) -> tuple[Any, dict[str, str]]:
        """Ask the service as HTTP would; what it refuses by the head ends the call."""
        given = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        headers = {name: value for name, value in given.items() if name.startswith(_KEPT)}
        opened = self._service.open(method, self._path + suffix, headers)
        if isinstance(opened, Reply) and opened.status != 200:
            _refuse(opened, context)
        return opened, headers

    def _check_place(self, headers: Mapping[str, str], context: Any) -> None:
        """Refuse what the edge meant for whoever had this address before.

        The names in the message are not looked at: an alias may stand there, and the edge has chosen by them.
        """
        meant = headers.get("x-rayloop-endpoint"), headers.get("x-rayloop-version")
        if meant != (self._service.endpoint, str(self._service.version)):
            context.abort(_Code.UNAVAILABLE, f"here answers {self._service.name}; try again")


def _refuse(reply: Reply, context: Any) -> NoReturn:
    code = _CODES.get(reply.status, _Code.INTERNAL)
    if reply.status == 503 and any(name == b"retry-after" for name, _ in reply.headers):
        code = _Code.RESOURCE_EXHAUSTED
    context.abort(code, reply.error or "")
    raise AssertionError("abort raises")


def _written(message: Any) -> bytes:
    written: bytes = message.SerializeToString()
    return written
