"""Owns the text of the edge's HAProxy configuration; writes no file and starts nothing.

A replica gets the client's path unchanged behind the prefix of its app, `/versions/3` included:
`/v2/models/digits/infer` arrives as `/__v/digits--v3/v2/models/digits/infer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ... import __version__
from ...platform.traffic import BUCKETS, MAX_VARIANTS
from .settings import EdgeSettings

BACKEND = "serve"
SESSION_HASH_SEED = 7

# Room in a buffer beside the body: request line, headers and HAProxy's own bookkeeping.
HEADER_ROOM_BYTES = 32 * 1024

# HAProxy 2.8 words one kind of error itself, in HTML: the 400, 408 and 501 for what it cannot read as HTTP.
_ERRORS = {
    400: "the request is not valid HTTP",
    401: "a token is needed",
    403: "this is not allowed",
    404: "nothing is served at this path",
    405: "this method is not allowed here",
    408: "the request took too long to arrive",
    413: "the body is too large",
    425: "the request came too early",
    429: "too many requests",
    500: "the edge failed",
    501: "this is not implemented",
    502: "the model server gave no valid answer",
    503: "no model server is up",
    504: "the model server took too long to answer",
}

Section = tuple[str, list[str]]


def render_config(settings: EdgeSettings) -> str:
    """Write the whole haproxy.cfg; it holds the secret, so only its owner may read it."""
    sections = [_global(settings), _defaults(settings), _frontend(settings), _backend(settings)]
    return "\n".join("\n".join([header, *(f"    {line}" for line in lines), ""]) for header, lines in sections)


def _global(settings: EdgeSettings) -> Section:
    return "global", [
        f"maxconn {settings.max_connections}",
        f"nbthread {settings.threads}",
        # Without it a second edge on the same port would take a share of the requests in silence.
        "noreuseport",
        f"stats socket 'unix@{settings.admin_socket}' mode 600 level admin expose-fd listeners",
        "stats timeout 10s",
        f"hard-stop-after {_ms(settings.drain_timeout_s)}",
        # A request can be sent again only if all of it fits one buffer.
        f"tune.bufsize {settings.buffered_body_bytes + HEADER_ROOM_BYTES}",
    ]


def _defaults(settings: EdgeSettings) -> Section:
    return "defaults", [
        "mode http",
        "option http-buffer-request",
        "option redispatch 1",
        "retries 6",
        "retry-on conn-failure empty-response",
        f"timeout connect {_ms(settings.connect_timeout_s)}",
        f"timeout http-request {_ms(settings.request_timeout_s)}",
        f"timeout client {_ms(settings.request_timeout_s)}",
        f"timeout http-keep-alive {_ms(settings.idle_timeout_s)}",
        f"timeout server {_ms(settings.answer_timeout_s)}",
        f"timeout queue {_ms(settings.answer_timeout_s)}",
        *(f"http-error status {status} {_body({'error': text})}" for status, text in _ERRORS.items()),
    ]


def _frontend(settings: EdgeSettings) -> Section:
    host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host
    return "frontend edge", [
        f"bind {host}:{settings.bind_port}",
        *_name_the_request(),
        *_answer_here(),
        *_distrust_the_client(settings),
        *_pick_version(settings),
        *_hand_over(settings),
        f"default_backend {BACKEND}",
    ]


def _name_the_request() -> list[str]:
    given = "{ req.fhdr(x-request-id),length gt 0 } { req.fhdr(x-request-id),length le 128 }"
    return [
        "http-request set-var(txn.request_id) uuid()",
        f"http-request set-var(txn.request_id) req.fhdr(x-request-id) if {given}",
        "http-response del-header x-rayloop-secret",
        # after-response rules see the edge's own answers as well
        *(
            f"http-after-response set-header {header} %[var(txn.{name})] if {{ var(txn.{name}) -m found }}"
            for header, name in [
                ("x-request-id", "request_id"),
                ("x-rayloop-version", "version"),
                ("x-rayloop-revision", "revision"),
            ]
        ),
    ]


def _answer_here() -> list[str]:
    server = {"name": "rayloop", "version": __version__, "extensions": []}
    closed = {"error": "paths under /__v are not open to clients"}
    return [
        f"http-request return status 403 {_body(closed)} if {{ path_beg /__v }}",
        f"http-request return status 200 {_body({'live': True})} if {{ path /v2/health/live }}",
        f"http-request return status 200 {_body({'ready': True, 'live': True})} "
        f"if {{ path /v2/health/ready }} {{ nbsrv({BACKEND}) gt 0 }}",
        f"http-request return status 503 {_body({'error': _ERRORS[503], 'ready': False, 'live': True})} "
        "if { path /v2/health/ready }",
        f"http-request return status 200 {_body(server)} if {{ path /v2 /v2/ }}",
        f"http-request return status 404 {_body({'error': _ERRORS[404]})} "
        "if !{ path_beg /v1/models/ /v2/models/ } || { path_sub /.. }",
    ]


def _distrust_the_client(settings: EdgeSettings) -> list[str]:
    limit_bytes, buffer_bytes = settings.max_body_bytes, settings.buffered_body_bytes
    too_large = {"error": f"the body is larger than {limit_bytes} bytes"}
    # What comes without a length is counted in the buffer, and no further.
    too_vague = {"error": f"a body larger than {buffer_bytes} bytes needs a content-length"}
    return [
        # `deny status` would answer with an empty body, whatever http-error says.
        f"http-request return status 413 {_body(too_large)} if {{ req.body_size gt {limit_bytes} }}",
        f"http-request return status 413 {_body(too_vague)} "
        f"if {{ req.hdr(transfer-encoding) -m found }} {{ req.body_size gt {buffer_bytes} }}",
        "http-request del-header x-rayloop- -m beg",
    ]


def _pick_version(settings: EdgeSettings) -> list[str]:
    """Set txn.pick to the `threshold:version:weight` of one version, or answer 404."""
    pinned, picked = "{ var(txn.pinned) -m found }", "{ var(txn.pick) -m found }"
    session = f"req.fhdr({settings.session_header})"
    sticky = f"{session},concat(:,txn.model),xxh32({SESSION_HASH_SEED}),mod({BUCKETS})"
    return [
        "http-request set-var(txn.model) path,field(4,/),field(1,:)",
        # With a slash at its end even a path that stops at /versions has a sixth field, an empty one.
        "http-request set-var(txn.pinned) path,concat(/),field(6,/),field(1,:) if { path,field(5,/) -m str versions }",
        f"http-request set-var(txn.split) var(txn.model),map('{settings.split_map}')",
        f"http-request set-var(txn.app) var(txn.model),concat(/,txn.pinned),map('{settings.versions_map}') if {pinned}",
        f"http-request return status 404 {_UNKNOWN_VERSION} if {pinned} !{{ var(txn.app) -m found }}",
        f"http-request return status 404 {_UNKNOWN_MODEL} if !{pinned} !{{ var(txn.split) -m found }}",
        "http-request set-var(txn.revision) var(txn.split),field(1,|) if { var(txn.split) -m found }",
        f"http-request set-var-fmt(txn.pick) {BUCKETS}:%[var(txn.pinned)]:{BUCKETS} if {pinned}",
        f"http-request set-var(txn.bucket) rand({BUCKETS}) if !{pinned}",
        f"http-request set-var(txn.bucket) {sticky} if !{pinned} {{ {session},length gt 0 }}",
        *(
            f"http-request set-var(txn.pick) var(txn.split),field({number},|) "
            f"if !{picked} {{ var(txn.split),field({number},|),field(1,:),sub(txn.bucket) -m int gt 0 }}"
            for number in range(2, MAX_VARIANTS + 2)
        ),
        f"http-request return status 500 {_body({'error': _ERRORS[500]})} if !{picked}",
    ]


def _hand_over(settings: EdgeSettings) -> list[str]:
    bucket, revision = "{ var(txn.bucket) -m found }", "{ var(txn.revision) -m found }"
    return [
        "http-request set-var(txn.version) var(txn.pick),field(2,:)",
        f"http-request set-header x-rayloop-secret {settings.secret}",
        "http-request set-header x-rayloop-endpoint %[var(txn.model)]",
        "http-request set-header x-rayloop-version %[var(txn.version)]",
        "http-request set-header x-rayloop-variant pinned if { var(txn.pinned) -m found }",
        "http-request set-header x-rayloop-variant split unless { var(txn.pinned) -m found }",
        "http-request set-header x-rayloop-propensity %[var(txn.pick),field(3,:)]",
        f"http-request set-header x-rayloop-bucket %[var(txn.bucket)] if {bucket}",
        f"http-request set-header x-rayloop-revision %[var(txn.revision)] if {revision}",
        "http-request set-header x-request-id %[var(txn.request_id)]",
        # It spares the replica a task for each request that only watches for the client to go away.
        "http-request set-header x-request-disconnect-disabled ?1",
        "http-request set-path /__v/%[var(txn.model)]--v%[var(txn.version)]%[path]",
    ]


def _backend(settings: EdgeSettings) -> Section:
    # One refused connection takes a server out at once only if there is another to go to: a lone server that
    # is marked down means a 503 for requests that a retry a second later would have saved.
    alone = "check inter 500ms downinter 200ms fall 4 rise 1"
    paired = "check inter 500ms fastinter 100ms fall 2 rise 2 observe layer4 error-limit 1 on-error mark-down"
    if settings.fallback_address is None:
        servers = [f"server main {settings.backend_address} {alone}"]
    else:
        servers = [
            f"server main {settings.backend_address} {paired}",
            f"server fallback {settings.fallback_address} {alone} backup",
        ]
    return f"backend {BACKEND}", ["balance leastconn", "http-reuse always", *servers]


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def _body(value: Mapping[str, object]) -> str:
    return f"content-type application/json string '{json.dumps(value, separators=(',', ':'))}'"


def _named_body(text: str) -> str:
    """Format an error that repeats what the client asked for, escaped for JSON and cut to 64 bytes."""
    return _body({"error": text}).replace(" string ", " lf-string ", 1)


_ASKED_MODEL = "%[var(txn.model),bytes(0,64),json(utf8s)]"
_ASKED_VERSION = "%[var(txn.pinned),bytes(0,64),json(utf8s)]"
_UNKNOWN_MODEL = _named_body(f'model "{_ASKED_MODEL}" is not served here')
_UNKNOWN_VERSION = _named_body(f'version "{_ASKED_VERSION}" of model "{_ASKED_MODEL}" is not served here')
