"""Waiting for the edge ends when it serves the split, when there is no edge, and when the time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rayloop.cluster import free_port
from rayloop.platform.settings import Settings
from rayloop.platform.traffic import Split, Variant
from rayloop.serve.versions import replica_ids, wait_for_edge

SPLIT = Split("digits", (Variant(3, 10_000),), revision=7)


@pytest.fixture
def edge() -> Iterator[Callable[[list[str | None]], Settings]]:
    """Starts an edge that answers with these revisions, one after another, and then with the last for ever."""
    servers: list[ThreadingHTTPServer] = []

    def start(revisions: list[str | None]) -> Settings:
        class Edge(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/v2/models/digits"
                revision = revisions.pop(0) if len(revisions) > 1 else revisions[0]
                self.send_response(200 if revision else 404)
                if revision:
                    self.send_header("x-rayloop-revision", revision)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Edge)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return Settings.load({}, edge_port=server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_waits_for_the_revision_or_a_later_one(edge: Callable[[list[str | None]], Settings]) -> None:
    revisions: list[str | None] = [None, "6", "6", "7"]
    assert wait_for_edge(edge(revisions), SPLIT)
    assert revisions == ["7"]
    assert wait_for_edge(edge(["12"]), SPLIT)


def test_it_gives_up_when_the_time_is_over(edge: Callable[[list[str | None]], Settings]) -> None:
    assert not wait_for_edge(edge(["6"]), SPLIT, timeout_s=0.2)


def test_without_an_edge_nobody_waits() -> None:
    assert not wait_for_edge(Settings.load({}, edge_port=free_port()), SPLIT, timeout_s=60)


def test_replicas_that_serve_stops_are_told_apart() -> None:
    def state(**replicas: str) -> dict[str, object]:
        found = [{"replica_id": name, "state": said} for name, said in replicas.items()]
        return {"deployments": {"Version": {"replicas": found}}}

    states = {"m--v1": state(a="RUNNING", b="STOPPING"), "m--v2": state(c="STARTING"), "m--v3": {}}
    assert replica_ids(states) == ({"a", "c"}, {"b"})
