"""Owns the control API's ASGI application: the edge's secret, roles, routes and errors; what they do is in `api`."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.exc import SQLAlchemyError

from ...platform.errors import InvalidInput, NotFound, RayloopError
from ...platform.state import acting_as
from .api import Api
from .call import Answer, Call, Caller, Forbidden

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 1 << 20
MAX_LABELS_BYTES = 4 << 20  # 10,000 labels as SageMaker writes them are 1.5 MB
# Most of them wait: for the database, MLflow, Serve, or a version that is being brought up.
THREADS = 32

logger = logging.getLogger(__name__)


class BodyTooLarge(InvalidInput):
    """The body is longer than the bound."""

    status = 413


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, and who may ask it."""

    method: str
    path: re.Pattern[str]
    handle: Callable[[Call], Answer]
    is_for_admins: bool = False
    most_bytes: int = MAX_BODY_BYTES


def routes(api: Api) -> list[Route]:
    """Every route; a path that no pattern fits whole leads to nothing."""
    return [
        _route("GET", "/v2/endpoints", api.list_endpoints),
        _route("GET", "/v2/endpoints/{endpoint}", api.show_endpoint),
        _route("PUT", "/v2/endpoints/{endpoint}/split", api.set_split),
        _route("POST", "/v2/endpoints/{endpoint}/rollback", api.roll_back),
        _route("PUT", "/v2/endpoints/{endpoint}/versions/{version}", api.deploy),
        _route("DELETE", "/v2/endpoints/{endpoint}/versions/{version}", api.undeploy),
        _route("PUT", "/v2/endpoints/{endpoint}/versions/{version}/replicas", api.scale),
        _route("POST", "/v2/endpoints/{endpoint}/labels", api.add_labels, most_bytes=MAX_LABELS_BYTES),
        _route("GET", "/v2/operations/{id}", api.show_operation),
        _route("GET", "/drift/metrics", api.drift_metrics),
        _route("POST", "/v2/repository/models/{endpoint}/load", api.load),
        _route("POST", "/v2/repository/models/{endpoint}/unload", api.unload),
        _route("GET", "/v2/tokens", api.list_tokens, is_for_admins=True),
        _route("POST", "/v2/tokens", api.make_token, is_for_admins=True),
        _route("DELETE", "/v2/tokens/{name}", api.revoke_token, is_for_admins=True),
    ]


class ControlApplication:
    """An ASGI 3 application that answers the edge and nobody else; its work is done in threads."""

    def __init__(self, api: Api, secret: str) -> None:
        """Raises InvalidInput for an empty secret, which every request without the header would match."""
        if not secret:
            raise InvalidInput("the secret is empty; it must be text that only the edge knows")
        self._routes, self._secret = routes(api), secret.encode()
        self._threads = ThreadPoolExecutor(THREADS, "control")

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._threads.shutdown(wait=False)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the control API speaks HTTP alone, not {scope['type']}")  # uvicorn goes on without
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = await self._answer(scope, headers, receive)
        except RayloopError as error:
            answer = Answer(error.status, {"error": str(error)}, getattr(error, "headers", {}))
        except SQLAlchemyError as error:
            logger.exception("the database failed")
            answer = Answer(503, {"error": f"the database failed: {type(error).__name__}"})
        except Exception as error:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            answer = Answer(500, {"error": f"the control service failed: {type(error).__name__}"})
        await _send(answer, send)

    async def _answer(self, scope: Mapping[str, Any], headers: Mapping[str, str], receive: Receive) -> Answer:
        if not hmac.compare_digest(headers.get("x-rayloop-secret", "").encode("latin-1"), self._secret):
            raise Forbidden("only the edge may ask; header 'x-rayloop-secret' is missing or wrong")
        caller = Caller(headers.get("x-rayloop-role", ""), headers.get("x-rayloop-client", ""))
        if not caller.may_deploy:
            raise Forbidden(f"this needs a token of role deploy or admin, and {_shown(caller)}")
        route, names = self._find(scope["method"], scope["path"])
        if route.is_for_admins and not caller.is_admin:
            raise Forbidden(f"this needs a token of role admin, and {_shown(caller)}")
        call = Call(caller, names, await _read_body(receive, route.most_bytes))
        with acting_as(caller.actor):
            work = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work.run, route.handle, call)

    def _find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        fitting = [(route, match) for route in self._routes if (match := route.path.fullmatch(path))]
        if not fitting:
            raise NotFound(f"path {path[:200]!r} leads to nothing")
        for route, match in fitting:
            if route.method == method:
                return route, match.groupdict()
        raise MethodNotAllowed(method, ", ".join(sorted(route.method for route, _ in fitting)))


class MethodNotAllowed(RayloopError):
    """The path is known, and this method is none of its own."""

    status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(method, allowed)
        self.method, self.allowed = method, allowed

    def __str__(self) -> str:
        return f"method {self.method!r} is not allowed here; use {self.allowed}"

    @property
    def headers(self) -> Mapping[str, str]:
        """What HTTP asks to be said beside it."""
        return {"allow": self.allowed}


def _route(method: str, path: str, handle: Callable[[Call], Answer], **more: Any) -> Route:
    kinds = {"version": "[1-9][0-9]{0,8}"}
    pattern = re.sub(r"{(\w+)}", lambda match: f"(?P<{match[1]}>{kinds.get(match[1], '[^/]{1,64}')})", path)
    return Route(method, re.compile(pattern), handle, **more)


async def _read_body(receive: Receive, most_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("the client left before its request was whole")
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise BodyTooLarge(f"the body is larger than {most_bytes} bytes")
        if not message.get("more_body", False):
            return bytes(body)


async def _send(answer: Answer, send: Send) -> None:
    body = answer.value if isinstance(answer.value, bytes) else orjson.dumps(answer.value)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
    written = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": written})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _shown(caller: Caller) -> str:
    return f"token {caller.client!r} has role {caller.role}" if caller.client else "none was given"
