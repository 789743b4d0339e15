"""A mirror copies what it is offered to a real server, and costs the caller nothing where that is slow or gone."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.platform.settings import Settings
from rayloop.serve.application import VersionApplication
from rayloop.serve.capture import Capture
from rayloop.serve.protocol.arrival import Arrival, read_arrival
from rayloop.serve.service import VersionService
from rayloop.serve.shadow import Mirror, MirrorCounters, edge_url_of

SECRET = "only-the-edge-knows"
PATH = "/mlflow/digits/invocations"
HEADERS = {
    "content-type": "application/json",
    "content-encoding": "gzip",
    "inference-header-content-length": "4",
    "content-length": "999",
    "authorization": "Bearer rl_secret",
    "x-rayloop-shadow": "4",
    "x-rayloop-variant": "split",
    "x-request-id": "mine",
}
OFFER_LIMIT_S = 1e-3


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Edge

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.seen.append((self.path, headers, body))
            self.server.inside += 1
            self.server.most_inside = max(self.server.most_inside, self.server.inside)
        self.server.released.wait(20)
        with self.server.lock:
            self.server.inside -= 1
        self.send_response(self.server.status)
        if self.server.closes:
            self.send_header("connection", "close")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Edge(ThreadingHTTPServer):
    """Plays the edge: keeps what it is asked, and answers once it is `released`."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.lock, self.released = threading.Lock(), threading.Event()
        self.released.set()
        self.inside = self.most_inside = self.num_connections = 0
        self.status, self.closes = 200, False
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: object, client_address: object) -> None:
        self.num_connections += 1
        self.connections.append(request)  # type: ignore[arg-type]
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A mirror that is closed cuts its connections."""

    def hang_up(self) -> None:
        """Close every connection, as an edge does with idle ones."""
        for connection in self.connections:
            connection.close() if connection.fileno() < 0 else connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def end(self) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


@pytest.fixture
def edge() -> Iterator[Edge]:
    made = Edge()
    yield made
    made.end()


@pytest.fixture
def arrival() -> Arrival:
    return read_arrival(HEADERS)


def offer(mirror: Mirror, arrival: Arrival, body: bytes = b"body", shadows: str = "4") -> float:
    """Offer one request; returns the seconds that it took."""
    began_s = time.perf_counter()
    mirror.offer(PATH, HEADERS, body, arrival, shadows)
    return time.perf_counter() - began_s


def check_quick(times_s: list[float]) -> None:
    """Half of them at least: a busy machine may stop any single one for longer."""
    assert statistics.median(times_s) < OFFER_LIMIT_S


def test_a_copy_has_the_same_body_path_and_id_and_says_that_it_is_one(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET)
    offer(mirror, arrival, b"\x00\xffsame")
    assert mirror.flush()
    ((path, headers, body),) = edge.seen
    assert (path, body) == (PATH, b"\x00\xffsame")
    expected = {
        "x-rayloop-secret": SECRET,
        "x-rayloop-variant": "shadow",
        "x-rayloop-version": "4",
        "x-request-id": "mine",
        "content-type": "application/json",
        "content-encoding": "gzip",
        "inference-header-content-length": "4",
        "content-length": "6",
    }
    assert {name: headers.get(name) for name in expected} == expected
    assert "x-rayloop-shadow" not in headers
    assert "authorization" not in headers
    assert mirror.counters() == MirrorCounters(1, 0, 0, 0)
    assert mirror.close()


def test_each_shadow_gets_one_copy_and_nonsense_gets_none(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET)
    for shadows in ("5,4", "", ",", "x", "-1", "4\r\nx: y"):
        mirror.offer(PATH, {}, b"", arrival, shadows)
    assert mirror.flush()
    assert sorted(headers["x-rayloop-version"] for _, headers, _ in edge.seen) == ["4", "5"]
    assert mirror.counters() == MirrorCounters(2, 0, 0, 0)
    assert mirror.close()


def test_connections_are_kept_and_so_many_are_asked_at_once(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET, num_lines=3)
    edge.released.clear()
    check_quick([offer(mirror, arrival) for _ in range(20)])
    deadline_s = time.monotonic() + 10
    while edge.inside < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    assert mirror.counters() == MirrorCounters(0, 0, 0, 17)
    edge.released.set()
    assert mirror.flush()
    assert (edge.most_inside, edge.num_connections, len(edge.seen)) == (3, 3, 20)
    assert mirror.close()


def test_a_full_queue_drops_and_the_caller_goes_on(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET, num_lines=1, queue_requests=5)
    edge.released.clear()
    offer(mirror, arrival)
    deadline_s = time.monotonic() + 10
    while edge.inside < 1:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    check_quick([offer(mirror, arrival) for _ in range(50)])
    assert mirror.counters() == MirrorCounters(0, 45, 0, 5)
    edge.released.set()
    assert mirror.flush()
    assert mirror.counters() == MirrorCounters(6, 45, 0, 0)
    offer(mirror, arrival)  # there is room again
    assert mirror.flush()
    assert mirror.counters().mirrored == 7
    assert mirror.close()


def test_the_queue_is_bounded_in_bytes_too(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET, queue_bytes=1_000)
    edge.released.clear()
    offer(mirror, arrival, b"x" * 1_001)
    assert mirror.counters().dropped == 1
    offer(mirror, arrival, b"x" * 600, "4,5")  # one of the two fits
    assert mirror.counters().dropped == 2
    edge.released.set()
    assert mirror.flush()
    assert [len(body) for _, _, body in edge.seen] == [600]
    assert mirror.close()


def test_a_dead_edge_costs_the_caller_nothing_and_is_said_once(
    arrival: Arrival, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    mirror = Mirror(url, SECRET)
    with caplog.at_level(logging.WARNING):
        check_quick([offer(mirror, arrival) for _ in range(50)])
        assert mirror.flush()
    assert mirror.counters() == MirrorCounters(0, 0, 50, 0)
    (line,) = caplog.messages
    assert line.startswith("copies to shadows are lost: ConnectionRefusedError")
    assert mirror.close()


def test_an_edge_that_comes_back_is_used_again(arrival: Arrival) -> None:
    first = Edge()
    port = first.server_port
    mirror = Mirror(first.url, SECRET, num_lines=1)
    offer(mirror, arrival)
    assert mirror.flush()
    first.hang_up()
    first.end()
    offer(mirror, arrival)
    assert mirror.flush()
    assert mirror.counters() == MirrorCounters(1, 0, 1, 0)
    second = Edge(port)
    offer(mirror, arrival)
    assert mirror.flush()
    assert mirror.counters() == MirrorCounters(2, 0, 1, 0)
    assert mirror.close()
    second.end()


def test_a_connection_that_was_closed_while_idle_loses_nothing(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET, num_lines=1)
    for closes in (False, True, False):
        edge.closes = closes
        offer(mirror, arrival)
        assert mirror.flush()
        edge.hang_up()
    assert mirror.counters() == MirrorCounters(3, 0, 0, 0)
    assert mirror.close()


def test_an_edge_that_never_answers_is_given_up(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET, num_lines=1, timeout_s=0.1)
    edge.released.clear()
    offer(mirror, arrival)
    assert mirror.flush(10)
    assert mirror.counters() == MirrorCounters(0, 0, 1, 0)
    edge.released.set()
    offer(mirror, arrival)  # on a new connection: the late answer is not taken for this one's
    assert mirror.flush(10)
    assert mirror.counters() == MirrorCounters(1, 0, 1, 0)
    assert edge.num_connections == 2
    assert mirror.close()


@pytest.mark.parametrize(
    ("status", "mirrored"), [(200, 1), (400, 1), (500, 1), (404, 0), (401, 0), (429, 0), (503, 0), (504, 0)]
)
def test_an_error_of_the_shadow_counts_as_mirrored_and_one_of_the_edge_as_failed(
    edge: Edge, arrival: Arrival, status: int, mirrored: int
) -> None:
    mirror = Mirror(edge.url, SECRET)
    edge.status = status
    offer(mirror, arrival)
    assert mirror.flush()
    assert mirror.counters() == MirrorCounters(mirrored, 0, 1 - mirrored, 0)
    assert mirror.close()


def test_closing_waits_for_nobody(edge: Edge, arrival: Arrival) -> None:
    mirror = Mirror(edge.url, SECRET, num_lines=1, timeout_s=60)
    edge.released.clear()
    for _ in range(4):
        offer(mirror, arrival)
    deadline_s = time.monotonic() + 10
    while edge.inside < 1:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    began_s = time.monotonic()
    assert mirror.close()
    assert time.monotonic() - began_s < 4  # the timeout is 60 s
    offer(mirror, arrival)
    assert mirror.counters() == MirrorCounters(0, 4, 1, 0)
    assert [thread for thread in threading.enumerate() if thread.name == "mirror"] == []


def test_a_mirror_that_was_offered_nothing_asks_nothing(edge: Edge) -> None:
    mirror = Mirror(edge.url, SECRET)
    assert len([thread for thread in threading.enumerate() if thread.name == "mirror"]) == 1
    assert mirror.close()
    assert edge.num_connections == 0


@pytest.mark.parametrize(
    ("host", "certificate", "url"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8080"),
        ("0.0.0.0", "", "http://10.0.0.1:8080"),
        ("*", "/edge.pem", "https://10.0.0.1:8080"),
        ("10.9.9.9", "", "http://10.9.9.9:8080"),
    ],
)
def test_a_replica_finds_the_edge_on_the_head(host: str, certificate: str, url: str) -> None:
    settings = Settings.load({"RAYLOOP_EDGE_HOST": host, "RAYLOOP_EDGE_CERTIFICATE": certificate})
    assert edge_url_of(settings, "10.0.0.1:6379") == url
    assert edge_url_of(Settings.load({"RAYLOOP_EDGE_HOST": "::"}), "[fd00::1]:6379") == "http://[fd00::1]:8080"


class Spoiler:
    """Writes into the arrays that it is given, or fails."""

    signature = Signature((ColumnSpec("a", "FP32"),), (ColumnSpec("sum", "FP32"),))

    def __init__(self) -> None:
        self.error: Exception | None = None

    def predict(self, columns: Columns) -> Columns:
        if self.error is not None:
            raise self.error
        answer = columns["a"].copy()
        if columns["a"].flags.writeable:
            columns["a"][...] = -1
        return {"sum": answer}


def ask(application: VersionApplication, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """One request to the application itself; returns status and body."""
    sent: list[Any] = []
    named = {"x-rayloop-secret": SECRET} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    return sent[0]["status"], orjson.loads(sent[1]["body"])


HEAD = orjson.dumps(
    {"inputs": [{"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}
)
BINARY = HEAD + np.array([1.5, 2.5], "<f4").tobytes()
INFER = "/v2/models/digits/infer"


def test_a_version_copies_what_it_was_asked_as_it_came(edge: Edge) -> None:
    mirror = Mirror(edge.url, SECRET)
    application = VersionApplication(VersionService("digits", 7, Spoiler(), SECRET, mirror=mirror))
    length = {"inference_header_content_length": str(len(HEAD))}
    prefixed = f"/__v/digits--v7{INFER}"
    status, answer = ask(application, prefixed, BINARY, **length, x_request_id="raw", x_rayloop_shadow="4,5")
    assert (status, answer["outputs"][0]["data"]) == (200, [1.5, 2.5])
    packed = gzip.compress(b'{"instances": [[3.0]]}')
    asked = {"content_type": "application/json", "content_encoding": "gzip", "x_request_id": "zip"}
    status, answer = ask(application, "/v1/models/digits:predict", packed, **asked, x_rayloop_shadow="4")
    assert (status, answer["predictions"]) == (200, [3.0])
    assert mirror.flush()
    copies = {
        (headers["x-request-id"], headers["x-rayloop-version"]): (path, body) for path, headers, body in edge.seen
    }
    assert copies == {
        ("raw", "4"): (INFER, BINARY),
        ("raw", "5"): (INFER, BINARY),
        ("zip", "4"): ("/v1/models/digits:predict", packed),
    }
    application.close()
    offer(mirror, read_arrival(HEADERS))
    assert mirror.counters() == MirrorCounters(3, 1, 0, 0)  # closed with its application


def test_a_request_that_failed_is_copied_and_one_without_the_header_is_not(edge: Edge) -> None:
    mirror, predictor = Mirror(edge.url, SECRET), Spoiler()
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET, mirror=mirror))
    assert ask(application, INFER, b"{", x_rayloop_shadow="4")[0] == 400
    predictor.error = RuntimeError("broken")
    assert ask(application, "/v1/models/digits:predict", b'{"instances": [[3.0]]}', x_rayloop_shadow="4")[0] == 500
    predictor.error = None
    assert ask(application, "/v1/models/digits:predict", b'{"instances": [[3.0]]}')[0] == 200
    assert ask(application, "/v2/models/digits", x_rayloop_shadow="4")[0] == 200
    assert mirror.flush()
    assert sorted(body for _, _, body in edge.seen) == [b"{", b'{"instances": [[3.0]]}']
    application.close()


def test_a_slow_shadow_does_not_slow_the_answer(edge: Edge) -> None:
    mirror = Mirror(edge.url, SECRET, num_lines=1, queue_requests=2)
    application = VersionApplication(VersionService("digits", 7, Spoiler(), SECRET, mirror=mirror))
    edge.released.clear()
    for _ in range(20):
        assert ask(application, "/v1/models/digits:predict", b'{"instances": [[3.0]]}', x_rayloop_shadow="4")[0] == 200
    counted = mirror.counters()
    assert (counted.mirrored, counted.failed) == (0, 0)
    assert counted.dropped >= 17  # one on its way, two waiting
    application.close()


def test_statistics_tell_the_counts_of_capture_and_mirror(edge: Edge, tmp_path: Path) -> None:
    mirror = Mirror(edge.url, SECRET)
    capture = Capture("digits", 7, Spoiler.signature, str(tmp_path))
    application = VersionApplication(VersionService("digits", 7, Spoiler(), SECRET, capture, mirror=mirror))
    ask(application, "/v1/models/digits:predict", b'{"instances": [[3.0], [4.0]]}', x_rayloop_shadow="4")
    assert mirror.flush()
    assert capture.flush()
    status, answer = ask(application, "/v2/models/digits/stats")
    assert status == 200
    assert answer["model_stats"][0]["inference_count"] == 2
    assert answer["rayloop"] == {
        "capture": {"captured": 2, "dropped": 0, "failed": 0, "queue_depth": 0},
        "mirror": {"mirrored": 1, "dropped": 0, "failed": 0, "queue_depth": 0},
    }
    application.close()
    bare = VersionApplication(VersionService("digits", 7, Spoiler(), SECRET))
    assert set(ask(bare, "/v2/models/digits/stats")[1]) == {"model_stats"}
    bare.close()
