"""Owns the copies of requests that go to shadows: a bounded queue, and the threads that ask the edge again.

A copy must never slow or fail an answer: what does not fit is dropped, what gets no answer is lost, and both are
counted. All counts are of copies, one for each request and shadow.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..platform.settings import Settings
from ..platform.traffic.capture_schema import SHADOW_VARIANT
from .protocol.arrival import REQUEST_ID_HEADER, VARIANT_HEADER, Arrival
from .protocol.binary import LENGTH_HEADER
from .trust import edge_trust

SHADOW_HEADER = "x-rayloop-shadow"
"""By it the edge tells a replica to which versions it shall copy a request: `4,5`."""

COPIED_HEADERS = ("content-type", "content-encoding", LENGTH_HEADER)
"""What a body needs to be read again."""

# The edge or an overloaded shadow says these in place of an answer; 400, 413, 415 and 500 are the shadow's own.
_NO_ANSWER = frozenset({401, 403, 404, 429, 502, 503, 504})

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorCounters:
    """Copies that a shadow answered, dropped for want of room, lost on their way, and waiting."""

    mirrored: int
    dropped: int
    failed: int
    queue_depth: int


@dataclass(frozen=True, slots=True, eq=False)
class _Copy:
    """One request to one shadow."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Mirror:
    """The copies of one replica; `offer` is safe from any thread."""

    def __init__(
        self,
        edge_url: str,
        secret: str,
        trust: ssl.SSLContext | bool = True,
        *,
        num_lines: int = 8,
        queue_requests: int = 1_000,
        queue_bytes: int = 32 << 20,
        timeout_s: float = 10.0,
    ) -> None:
        self._secret = secret
        self._queue_requests, self._queue_bytes = queue_requests, queue_bytes
        lock = threading.Lock()
        self._changed, self._done = threading.Condition(lock), threading.Condition(lock)
        self._queue: deque[_Copy] = deque()
        self._waiting_bytes = self._accepted = 0
        self._mirrored = self._dropped = self._failed = 0
        self._is_closed = self._is_failing = False
        self._lines = [_Line(edge_url, trust, timeout_s) for _ in range(num_lines)]
        self._threads: list[threading.Thread] = []
        # To start a thread can wait for the interpreter's lock, so an offer starts none; this one starts the others
        # once there is a copy to send.
        self._start(self._begin)

    def offer(self, path: str, headers: Mapping[str, str], body: bytes, arrival: Arrival, shadows: str) -> None:
        """Queue a copy for each version that `shadows` names, or count it as dropped; never waits, never raises.

        `path` is the request's own, without the prefix of the app; `body` is as it came, its coding included.
        """
        versions = [version for version in shadows.split(",") if version.isdecimal()]
        kept = {name: headers[name] for name in COPIED_HEADERS if name in headers}
        kept |= {
            "x-rayloop-secret": self._secret,
            VARIANT_HEADER: SHADOW_VARIANT,
            REQUEST_ID_HEADER: arrival.request_id,
        }
        copies = [_Copy(path, kept | {"x-rayloop-version": version}, body) for version in versions]
        with self._changed:
            for copy in copies:
                has_room = self._waiting_bytes + len(body) <= self._queue_bytes
                if self._is_closed or not has_room or len(self._queue) >= self._queue_requests:
                    self._dropped += 1
                    continue
                self._queue.append(copy)
                self._waiting_bytes += len(body)
                self._accepted += 1
                self._changed.notify()

    def counters(self) -> MirrorCounters:
        """Give the counts as of now; a copy that is on its way counts nowhere yet."""
        with self._changed:
            return MirrorCounters(self._mirrored, self._dropped, self._failed, len(self._queue))

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was taken so far is answered or lost; False if that took longer than `timeout_s`."""
        with self._done:
            wanted = self._accepted
            return self._done.wait_for(lambda: self._mirrored + self._failed >= wanted, timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Drop what waits, cut what is on its way and stop the threads; False if that takes over `timeout_s`."""
        with self._changed:
            self._is_closed = True
            self._dropped += len(self._queue)
            self._accepted -= len(self._queue)
            self._queue.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()
            threads = list(self._threads)
        for line in self._lines:
            line.cut()
        for thread in threads:
            thread.join(timeout_s / len(threads))
        return not any(thread.is_alive() for thread in threads)

    def _begin(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            if self._is_closed:
                return
            for line in self._lines[1:]:
                self._start(self._send_all, line)
        self._send_all(self._lines[0])

    def _start(self, run: Callable[..., None], *arguments: _Line) -> None:
        thread = threading.Thread(target=run, args=arguments, name="mirror", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _send_all(self, line: _Line) -> None:
        while copy := self._take():
            try:
                status = line.send(copy)
            except Exception as error:
                line.hang_up()
                self._count(f"{type(error).__name__}: {error}")
            else:
                self._count(f"the edge answered {status}" if status in _NO_ANSWER else None)
        line.hang_up()

    def _take(self) -> _Copy | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            if self._is_closed:
                return None
            copy = self._queue.popleft()
            self._waiting_bytes -= len(copy.body)
            return copy

    def _count(self, fault: str | None) -> None:
        with self._done:
            is_new = fault is not None and not self._is_failing and not self._is_closed
            self._is_failing = fault is not None
            self._failed += fault is not None
            self._mirrored += fault is None
            self._done.notify_all()
        if is_new:  # one line for each time of failure, not for each copy
            _logger.warning("copies to shadows are lost: %s", fault)


class _Line:
    """One connection to the edge that stays open between copies; one thread's own, but for `cut`."""

    def __init__(self, edge_url: str, trust: ssl.SSLContext | bool, timeout_s: float) -> None:
        parts = urlsplit(edge_url)
        assert parts.hostname is not None
        self._address, self._timeout_s = (parts.hostname, parts.port), timeout_s
        self._context = None
        if parts.scheme == "https":
            self._context = trust if isinstance(trust, ssl.SSLContext) else ssl.create_default_context()
        self._connection: http.client.HTTPConnection | None = None

    def send(self, copy: _Copy) -> int:
        """Ask, read the answer to its end, and give its status; raises OSError or HTTPException if there was none."""
        if self._connection is not None:
            with suppress(ConnectionError):  # the edge closes a connection that was idle for a while
                return self._ask(copy)
            self.hang_up()
        return self._ask(copy)

    def cut(self) -> None:
        """End whatever the thread is waiting for; from any thread."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, copy: _Copy) -> int:
        if self._connection is None:
            self._connection = self._dial()
        self._connection.request("POST", copy.path, copy.body, dict(copy.headers))
        answer = self._connection.getresponse()
        answer.read()
        if answer.will_close:
            self.hang_up()
        return answer.status

    def _dial(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context)


def edge_url_of(settings: Settings, gcs_address: str) -> str:
    """Where a replica finds the edge, which runs on the head: by Ray's address where it listens on every interface.

    An edge on loopback is found from its own node alone.

    >>> from rayloop.platform.settings import Settings
    >>> edge_url_of(Settings.load({"RAYLOOP_EDGE_HOST": "0.0.0.0"}), "10.0.0.1:6379")
    'http://10.0.0.1:8080'
    """
    if settings.edge_host not in {"0.0.0.0", "::", "*"}:  # noqa: S104
        return settings.edge_url
    return settings.model_copy(update={"edge_host": gcs_address.rpartition(":")[0].strip("[]")}).edge_url


def mirror_of(settings: Settings, secret: str, gcs_address: str) -> Mirror:
    """The mirror of a replica on this node."""
    return Mirror(edge_url_of(settings, gcs_address), secret, edge_trust(settings))
