"""Owns the edge's way to the control API: its paths, who may take it, and the backend; it picks no version."""

from __future__ import annotations

from .answers import ERRORS, json_body
from .settings import EdgeSettings

BACKEND = "control"
# A load waits for a version to be brought up: three minutes at most, and then for the edge to know it.
ANSWER_TIMEOUT_S = 300

_PATHS = (
    "{ path /v2/endpoints /v2/tokens /drift/metrics }",
    "{ path_beg /v2/endpoints/ /v2/operations/ /v2/tokens/ }",
    "{ path_reg '^/v2/repository/models/[^/]+/(load|unload)$' }",
)
_IS_DRIFT = "{ path /drift/metrics }"
_IS_CONTROL = "{ var(txn.control) -m found }"
_NEEDS_DEPLOY = {"error": "this needs a token of role deploy or admin"}
_NEEDS_ADMIN = {"error": "this needs a token of role admin"}
_FROM_A_PAGE = {"error": "a web page may not ask this of an edge without tokens"}
_ONLY_READ = {"error": "metrics are read by GET alone"}
_DOWN = {"error": "the control service is not up; what is served is served on"}


def control_rules(settings: EdgeSettings) -> list[str]:
    """Give the rules that let deployers through to the control API; none where there is none.

    They come after the rules that set `txn.let_in`, and that take the client's own `x-rayloop-*` headers away.
    """
    if settings.control_socket is None:
        return []
    role = "var(txn.role) -m str"
    return [
        *(f"http-request set-var(txn.control) bool(true) if {asked}" for asked in _PATHS),
        f"http-request set-var(txn.role) var(txn.let_in) if {_IS_CONTROL}",
        f"http-request set-var(txn.role) var(txn.grant),field(1,|) if {_IS_CONTROL} {{ var(txn.grant) -m found }}",
        f"http-request return status 403 {json_body(_NEEDS_DEPLOY)} "
        f"if {_IS_CONTROL} !{{ {role} deploy admin open ours }}",
        f"http-request return status 403 {json_body(_NEEDS_ADMIN)} "
        f"if {_IS_CONTROL} {{ {role} deploy }} {{ path_beg /v2/tokens }}",
        # Any page in a browser on this machine reaches loopback; that it comes from a page a browser always says.
        f"http-request return status 403 {json_body(_FROM_A_PAGE)} "
        f"if {_IS_CONTROL} {{ {role} open }} {{ req.hdr(origin) -m found }}",
        f"http-request set-header x-rayloop-secret {settings.secret} if {_IS_CONTROL}",
        f"http-request set-header x-rayloop-role %[var(txn.role)] if {_IS_CONTROL}",
        f"http-request set-header x-rayloop-client %[var(txn.client)] if {_IS_CONTROL} {{ var(txn.client) -m found }}",
        f"http-request set-header x-request-id %[var(txn.request_id)] if {_IS_CONTROL}",
        f"http-request allow if {_IS_CONTROL}",
    ]


def drift_rules(settings: EdgeSettings) -> list[str]:
    """Give the rules by which the port of metrics lets Prometheus through to the control API, which reads verdicts."""
    if settings.control_socket is None:
        return []
    return [
        "http-request del-header x-rayloop- -m beg",
        f"http-request return status 405 {json_body(_ONLY_READ)} if {_IS_DRIFT} !METH_GET",
        f"http-request set-header x-rayloop-secret {settings.secret} if {_IS_DRIFT}",
        f"http-request set-header x-rayloop-role ours if {_IS_DRIFT}",
        f"http-request allow if {_IS_DRIFT}",
    ]


def drift_choice(settings: EdgeSettings) -> list[str]:
    """Give that port's choice of the control backend."""
    return [] if settings.control_socket is None else [f"use_backend {BACKEND} if {_IS_DRIFT}"]


def control_choice(settings: EdgeSettings) -> list[str]:
    """Give the frontend's choice of the control backend."""
    return [] if settings.control_socket is None else [f"use_backend {BACKEND} if {_IS_CONTROL}"]


def control_backend(settings: EdgeSettings) -> tuple[str, list[str]]:
    """Give the backend. A request that it may have read is never sent again: it need not be safe to repeat."""
    return f"backend {BACKEND}", [
        "retry-on conn-failure",
        "retries 1",
        # A connection of its own for each request: one that is kept may be closed just as a request is sent.
        "option http-server-close",
        f"timeout server {ANSWER_TIMEOUT_S}s",
        f"http-error status 502 {json_body({'error': 'the control service gave no answer: look whether it was done'})}",
        f"http-error status 503 {json_body(_DOWN)}",
        f"http-error status 504 {json_body({'error': ERRORS[504].replace('model server', 'control service')})}",
        f"server main 'unix@{settings.control_socket}'",
    ]
