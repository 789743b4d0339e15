"""Owns the text of the edge's HAProxy configuration; writes no file and starts nothing.

A replica gets the client's path unchanged behind the prefix of its app, `/versions/3` included:
`/v2/models/digits/infer` arrives as `/__v/digits--v3/v2/models/digits/infer`.
"""

from __future__ import annotations

from .answers import ERRORS, json_body
from .control import control_backend, control_choice, drift_choice, drift_rules
from .counts import TABLE
from .grpc import grpc_errors, grpc_sections
from .rules import BACKEND, LIMITS, frontend_rules
from .servers import FALLBACK, SLOT
from .settings import EdgeSettings

# Room in a buffer beside the body: request line, headers and HAProxy's own bookkeeping.
HEADER_ROOM_BYTES = 16 * 1024
LEAST_BUFFER_BYTES = 40 * 1024  # the lists and the document of what is served go through one whole

Section = tuple[str, list[str]]


def render_config(settings: EdgeSettings) -> str:
    """Write the whole haproxy.cfg; it holds the secret, so only its owner may read it."""
    json_errors = [f"http-error status {status} {json_body({'error': text})}" for status, text in ERRORS.items()]
    sections = [
        _global(settings),
        ("defaults", _defaults(settings, json_errors)),
        _frontend(settings),
        _backend(settings),
    ]
    sections += [_slot(settings, place) for place in range(settings.slots)]
    if settings.control_socket is not None:
        sections.append(control_backend(settings))
    if settings.requests_per_s:
        sections.append(_limits())
    if settings.metrics_port:
        sections += [_counts(), _metrics(settings)]
    if settings.grpc_port:
        # What follows a section of defaults has these and no others.
        sections += [("defaults", _defaults(settings, grpc_errors())), *grpc_sections(settings)]
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
        f"tune.bufsize {max(settings.buffered_body_bytes + HEADER_ROOM_BYTES, LEAST_BUFFER_BYTES)}",
        *([f"lua-load '{settings.page_script}'"] if settings.metrics_port else []),
    ]


def _defaults(settings: EdgeSettings, errors: list[str]) -> list[str]:
    return [
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
        *errors,
    ]


def _frontend(settings: EdgeSettings) -> Section:
    return "frontend edge", [
        f"bind {settings.bind(settings.bind_port)}",
        *frontend_rules(settings),
        *control_choice(settings),
        # A slot's name comes from our own map; a map that is lost leaves Serve's proxy.
        f"use_backend %[var(txn.app),map('{settings.slots_map}')] "
        f"if {{ var(txn.app),map('{settings.slots_map}') -m found }}",
        f"default_backend {BACKEND}",
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


def _slot(settings: EdgeSettings, place: int) -> Section:
    """A backend whose servers, the replicas of one version, are told while the edge runs."""
    # Requests wait in Serve's proxy while no replica listens: it starts one, or knows of one that starts.
    fallback = f"server {FALLBACK} {settings.backend_address} backup track {BACKEND}/main"
    return f"backend {SLOT}{place}", ["balance leastconn", "http-reuse always", fallback]


def _limits() -> Section:
    return f"backend {LIMITS}", ["stick-table type string len 64 size 100k expire 10s store gpc0,gpc0_rate(1s)"]


def _counts() -> Section:
    counted = "http_req_cnt,http_err_cnt,http_fail_cnt"
    return f"backend {TABLE}", [f"stick-table type string len 96 size 2k expire 24h store {counted}"]


def _metrics(settings: EdgeSettings) -> Section:
    return "frontend metrics", [
        f"bind 127.0.0.1:{settings.metrics_port}",
        "http-request use-service prometheus-exporter if { path /metrics }",
        "http-request use-service lua.versions if { path /versions }",
        *drift_rules(settings),
        f"http-request return status 404 {json_body({'error': ERRORS[404]})}",
        *drift_choice(settings),
    ]


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
