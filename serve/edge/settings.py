"""Owns the settings of one edge and their rules; knows nothing of HAProxy's language and opens nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ...platform.errors import InvalidInput
from ...platform.traffic import Sticky

# sun_path holds 108 bytes, and HAProxy binds a temporary name with a suffix first.
SOCKET_PATH_LIMIT_BYTES = 90

_HOST = re.compile(r"\*|[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
_PATH = re.compile(r"/[^'\"\\,()<>;\x00-\x1f\x7f]*")

_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("bind_port", 1, 65_535),
    ("max_body_bytes", 1024, 1024**3),
    ("replay_body_bytes", 1024, 64 * 1024**2),
    ("max_connections", 1, 1_000_000),
    ("requests_per_s", 0, 1_000_000),
    ("metrics_port", 0, 65_535),
    ("grpc_port", 0, 65_535),
    ("threads", 1, 64),
    ("slots", 0, 4096),
    ("connect_timeout_s", 0.001, 86_400),
    ("request_timeout_s", 0.001, 86_400),
    ("idle_timeout_s", 0.001, 86_400),
    ("answer_timeout_s", 0.001, 86_400),
    ("drain_timeout_s", 0.001, 86_400),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """How one edge listens, where it sends requests, and what it waits for."""

    admin_socket: Path
    """Absolute path of the socket that takes changes of split; only its owner may open it."""
    map_folder: Path
    """Absolute path of the folder that holds the maps."""
    secret: str = field(repr=False)
    """What proves to a replica that a request came through the edge: 16-256 of A-Z a-z 0-9 `_` `-`."""
    bind_host: str = "127.0.0.1"
    bind_port: int = 8080
    backend_address: str = "127.0.0.1:8000"
    """Where Serve's own proxy listens; it is asked for versions whose replicas can't be asked themselves."""
    fallback_address: str | None = None
    """Where requests go while the backend is down, such as Serve's Python proxy on the head node."""
    control_socket: Path | None = None
    """Absolute path of the socket on which the control API answers; without it the edge has no such paths."""
    session_header: str = "x-session-id"
    """Requests that carry the same value in it reach the same version, unless `sticky.map` names another."""
    sticky: tuple[Sticky, ...] = ()
    """Every header and cookie that `sticky.map` may name: HAProxy reads only what its rules spell out."""
    max_body_bytes: int = 8 * 1024 * 1024
    """The largest body of a request that says its length; a larger one is refused."""
    replay_body_bytes: int = 32 * 1024
    """The largest body that is sent again if the backend drops it, and the largest without a stated length.

    HAProxy copies a buffer of this size and some room for each request: measured, 7 us more of its time with 96 KiB
    than with 40, and 830 us more with 1 MiB.
    """
    max_connections: int = 4096
    """How many connections are held at once; further ones wait in the system's queue."""
    requests_per_s: int = 0
    """How many requests of one token, or of one address on an open edge, are let in a second; 0 for no limit."""
    certificate: Path | None = None
    """Absolute path of a PEM file with certificate and private key; with it the edge speaks TLS alone."""
    metrics_port: int = 0
    """Where Prometheus asks on loopback; 0 for nowhere."""
    grpc_port: int = 0
    """Where gRPC is spoken, on `bind_host` as well; 0 for nowhere."""
    threads: int = 2
    slots: int = 32
    """How many versions may have replicas that the edge asks itself; Serve's proxy asks those of further ones."""
    connect_timeout_s: float = 1.0
    request_timeout_s: float = 30.0
    """How long a client may take to send a whole request."""
    idle_timeout_s: float = 60.0
    """How long a client's connection may stay open between requests."""
    answer_timeout_s: float = 120.0
    """How long the model server may take; longer than the longest request."""
    drain_timeout_s: float = 150.0
    """How long an edge that was told to stop may finish its requests."""

    def __post_init__(self) -> None:
        self._check_addresses()
        self._check_paths()
        _check(_SECRET.fullmatch(self.secret), "secret", "…", "be 16-256 letters, digits, '_' and '-'")
        ours = self.session_header.lower().startswith("x-rayloop-")
        header_rule = "be the name of a header, and not begin with x-rayloop-"
        fits = _HEADER.fullmatch(self.session_header) and not ours
        _check(fits, "session_header", self.session_header, header_rule)
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            _check(low <= value <= high, name, value, f"lie in {low:,}..{high:,}")

    def _check_addresses(self) -> None:
        _check(_HOST.fullmatch(self.bind_host), "bind_host", self.bind_host, "be a host name or an IP address")
        for name in ("backend_address", "fallback_address"):
            if (address := getattr(self, name)) is not None:
                match = _ADDRESS.fullmatch(address)
                _check(match and 1 <= int(match[1]) <= 65535, name, address, "be HOST:PORT")

    def _check_paths(self) -> None:
        for name in ("admin_socket", "map_folder", "control_socket", "certificate"):
            path = getattr(self, name)
            rule = "be an absolute path without quotes, commas, brackets, semicolons and backslashes"
            _check(path is None or _PATH.fullmatch(str(path)), name, str(path), rule)
            rule = f"be at most {SOCKET_PATH_LIMIT_BYTES} bytes long, because it is a Unix socket"
            is_short = not name.endswith("_socket") or len(str(path).encode()) <= SOCKET_PATH_LIMIT_BYTES
            _check(is_short, name, str(path), rule)

    @property
    def buffered_body_bytes(self) -> int:
        """The body that fits HAProxy's buffer beside the headers."""
        return min(self.replay_body_bytes, self.max_body_bytes)

    def bind(self, port: int) -> str:
        """What follows `bind` in HAProxy's language: the address, and TLS where there is a certificate."""
        host = f"[{self.bind_host}]" if ":" in self.bind_host else self.bind_host
        tls = f" ssl crt '{self.certificate}' ssl-min-ver TLSv1.2" if self.certificate else ""
        return f"{host}:{port}{tls}"

    @property
    def split_map(self) -> Path:
        """The file that maps an endpoint to its split."""
        return self.map_folder / "split.map"

    @property
    def versions_map(self) -> Path:
        """The file that maps `endpoint/version` to the name of an app."""
        return self.map_folder / "versions.map"

    @property
    def tokens_map(self) -> Path:
        """The file that maps a token's SHA-256 to its role and name; `open` in it lets everybody in."""
        return self.map_folder / "tokens.map"

    @property
    def maps(self) -> tuple[Path, ...]:
        """Every map, in the order in which changes are told: who may ask first, then what there is."""
        return (
            self.tokens_map,
            self.versions_map,
            self.sticky_map,
            self.split_map,
            self.alias_map,
            self.catalogue_map,
            self.slots_map,
        )

    @property
    def slots_map(self) -> Path:
        """The file that maps an app to the backend of its replicas."""
        return self.map_folder / "slots.map"

    @property
    def sticky_map(self) -> Path:
        """The file that maps an endpoint to `header:NAME` or `cookie:NAME`."""
        return self.map_folder / "sticky.map"

    @property
    def alias_map(self) -> Path:
        """The file that maps a further name to the endpoint that it means."""
        return self.map_folder / "alias.map"

    @property
    def catalogue_map(self) -> Path:
        """The file that holds the lists of what is served, as JSON."""
        return self.map_folder / "catalogue.map"

    @property
    def document_file(self) -> Path:
        """The file that holds the edge's OpenAPI document."""
        return self.map_folder / "openapi.json"

    @property
    def page_script(self) -> Path:
        """The file of the script that words the versions' counters."""
        return self.map_folder / "versions.lua"


def _check(is_good: object, name: str, value: object, rule: str) -> None:
    if not is_good:
        raise InvalidInput(f"edge setting {name}={value!r} must {rule}")
