"""A replica's own listener, over real sockets: answers, order, refusals, limits, and its end."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.batching import Batching
from rayloop.serve.listener import MAX_HEAD_BYTES, Listener
from rayloop.serve.service import VersionService

SECRET = "only-the-edge-knows"
HEADERS = {"x-rayloop-secret": SECRET}
PATH = "/__v/m--v3/v2/models/m/infer"
DEADLINE_S = 20.0


class Doubler:
    """Doubles; waits inside a call until it is let go."""

    signature = Signature((ColumnSpec("x", "FP64"),), (ColumnSpec("y", "FP64"),))

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.threads: list[str] = []

    def predict(self, columns: Columns) -> Columns:
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        assert self.released.wait(DEADLINE_S)
        return {"y": np.asarray(columns["x"]) * 2}


class Stage:
    """A listener, its model and its port."""

    def __init__(self, model: Doubler | None = None, **settings: Any) -> None:
        self.model = model or Doubler()
        self.service = VersionService("m", 3, self.model, SECRET, **settings)
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        self.port = bound.getsockname()[1]
        self.listener = Listener(self.service, bound)

    def close(self) -> None:
        self.model.released.set()
        self.listener.close()
        self.service.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)

    def raw(self, sent: bytes) -> bytes:
        """Everything that is answered until the listener closes."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as connection:
            connection.sendall(sent)
            parts = []
            while part := connection.recv(65_536):
                parts.append(part)
        return b"".join(parts)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def body(value: float) -> bytes:
    return orjson.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [value]}]})


def ask(connection: http.client.HTTPConnection, value: float, path: str = PATH, headers: Any = HEADERS) -> Any:
    connection.request("POST", path, body(value), headers)
    answer = connection.getresponse()
    return answer.status, orjson.loads(answer.read())


def status_of(connection: http.client.HTTPConnection) -> int:
    """Read the whole answer, so that nothing stays open."""
    answer = connection.getresponse()
    answer.read()
    return answer.status


def value_of(answer: tuple[int, Any]) -> float:
    assert answer[0] == 200, answer
    return float(answer[1]["outputs"][0]["data"][0])


def raw_request(value: float, *more: str) -> bytes:
    content = body(value)
    lines = [f"POST {PATH} HTTP/1.1", f"x-rayloop-secret: {SECRET}", f"content-length: {len(content)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + content


def test_one_connection_answers_again_and_again(stage: Stage) -> None:
    connection = stage.connect()
    assert [value_of(ask(connection, value)) for value in range(50)] == [2.0 * value for value in range(50)]
    assert value_of(ask(connection, 4, "/v2/models/m/versions/3/infer")) == 8
    connection.close()


def test_a_quick_model_is_called_on_the_listeners_own_thread(stage: Stage) -> None:
    connection = stage.connect()
    for value in range(60):
        ask(connection, value)
    connection.close()
    assert stage.model.threads[0] == "predict-m--v3"  # nothing is known of it yet
    assert stage.model.threads[-1] == "listen-m--v3"


def test_a_model_may_run_an_event_loop_of_its_own() -> None:
    class Asking(Doubler):
        def predict(self, columns: Columns) -> Columns:
            async def wait() -> None:
                await asyncio.sleep(0)

            asyncio.run(wait())
            return super().predict(columns)

    stage = Stage(model=Asking())
    connection = stage.connect()
    assert [value_of(ask(connection, value)) for value in range(60)] == [2.0 * value for value in range(60)]
    assert stage.model.threads[-1] == "listen-m--v3"
    connection.close()
    stage.close()


def test_health_is_told_while_the_model_is_busy(stage: Stage) -> None:
    stage.model.released.clear()
    busy, other = stage.connect(), stage.connect()
    busy.request("POST", PATH, body(1), HEADERS)
    assert stage.model.entered.wait(DEADLINE_S)
    other.request("GET", "/__v/m--v3/ready", headers=HEADERS)
    assert status_of(other) == 200
    assert stage.service.ongoing == 1
    stage.model.released.set()
    assert status_of(busy) == 200
    busy.close()
    other.close()


def test_many_connections_are_answered_together() -> None:
    stage = Stage()
    stage.model.released.clear()
    connections = [stage.connect() for _ in range(20)]
    try:
        for value, connection in enumerate(connections):
            connection.request("POST", PATH, body(value), HEADERS)
        until_s = time.monotonic() + DEADLINE_S
        while stage.service.ongoing < 20 and time.monotonic() < until_s:
            time.sleep(0.005)
        stage.model.released.set()
        answers = [orjson.loads(connection.getresponse().read()) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
        stage.close()
    assert [answer["outputs"][0]["data"][0] for answer in answers] == [2.0 * value for value in range(20)]
    assert len(stage.model.threads) <= 2


def test_requests_sent_ahead_are_answered_in_their_order(stage: Stage) -> None:
    ready = f"GET /ready HTTP/1.1\r\nx-rayloop-secret: {SECRET}\r\n\r\n".encode()
    answered = stage.raw(raw_request(1) + ready + raw_request(3, "connection: close"))
    places = [answered.find(text) for text in (b'"data":[2.0]', b'"ready":true', b'"data":[6.0]')]
    assert -1 not in places
    assert places == sorted(places)
    assert answered.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("rows", [10_000, 100_000])
def test_a_body_longer_than_any_head_is_read(stage: Stage, rows: int) -> None:
    connection = stage.connect()
    tensor = {"name": "x", "shape": [rows], "datatype": "FP64", "data": list(range(rows))}
    for _ in range(3):
        connection.request("POST", PATH, orjson.dumps({"inputs": [tensor]}), HEADERS)
        answer = connection.getresponse()
        assert (answer.status, orjson.loads(answer.read())["outputs"][0]["data"][-1]) == (200, 2.0 * (rows - 1))
    connection.close()


def test_a_chunked_body_is_read(stage: Stage) -> None:
    content = body(21)
    head = (
        f"POST {PATH} HTTP/1.1\r\nx-rayloop-secret: {SECRET}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:10], content[10:]))
    assert b'"data":[42.0]' in stage.raw(head.encode() + chunks + b"0\r\n\r\n")


def test_who_waits_for_a_word_to_go_on_gets_it(stage: Stage) -> None:
    answered = stage.raw(raw_request(1, "expect: 100-continue", "connection: close"))
    assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize("headers", [{}, {"x-rayloop-secret": "guessed"}, {"X-Rayloop-Secret": ""}])
def test_without_the_secret_nothing_is_told(stage: Stage, headers: dict[str, str]) -> None:
    connection = stage.connect()
    for path in (PATH, "/ready", "/v2/models/m", "/anything"):
        status, answer = ask(connection, 1, path, headers)
        assert status == 403
        assert "x-rayloop-secret" in answer["error"]
    connection.close()
    assert stage.model.threads == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET /ready HTTP/x\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET /" + b"x" * (MAX_HEAD_BYTES + 1), 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEAD_BYTES // 6 + 1), 431),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(stage: Stage, sent: bytes, status: int) -> None:
    answered = stage.raw(sent)
    assert answered.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answered
    assert b'{"error":' in answered


def test_a_wish_for_another_protocol_is_passed_over(stage: Stage) -> None:
    head = f"GET /ready HTTP/1.1\r\nx-rayloop-secret: {SECRET}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    answered = stage.raw(head.encode())
    assert answered.startswith(b"HTTP/1.1 200 OK")
    assert answered.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("is_told", [True, False])
def test_a_body_beyond_the_bound_is_refused(is_told: bool) -> None:
    stage = Stage(max_body_bytes=1_000)
    head = f"POST {PATH} HTTP/1.1\r\nx-rayloop-secret: {SECRET}\r\n"
    content = b"[" + b"1," * 2_000
    if is_told:
        sent = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
    else:
        sent = f"{head}transfer-encoding: chunked\r\n\r\n{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"
    answered = stage.raw(sent)
    stage.close()
    assert answered.startswith(b"HTTP/1.1 413 ")
    assert b"1000 bytes" in answered


def test_a_bound_that_is_reached_is_named() -> None:
    stage = Stage(batching=Batching(max_queue=1))
    stage.model.released.clear()
    first, second, third = (stage.connect() for _ in range(3))
    first.request("POST", PATH, body(1), HEADERS)
    assert stage.model.entered.wait(DEADLINE_S)
    second.request("POST", PATH, body(2), HEADERS)
    while stage.service.ongoing < 2:
        time.sleep(0.005)
    third.request("POST", PATH, body(3), HEADERS)
    refused = third.getresponse()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert b"max_queue" in refused.read()
    stage.model.released.set()
    assert [status_of(first), status_of(second)] == [200, 200]
    for connection in (first, second, third):
        connection.close()
    stage.close()


def test_a_late_answer_is_a_503_that_names_the_bound() -> None:
    stage = Stage(batching=Batching(request_timeout_s=0.1))
    stage.model.released.clear()
    connection = stage.connect()
    status, answer = ask(connection, 1)
    assert (status, "request_timeout_s = 0.1" in answer["error"]) == (503, True)
    stage.model.released.set()
    assert value_of(ask(connection, 2)) == 4
    connection.close()
    stage.close()


def test_the_end_waits_for_what_is_under_way_and_refuses_what_comes_later() -> None:
    stage = Stage()
    stage.model.released.clear()
    busy, idle = stage.connect(), stage.connect()
    idle.request("GET", "/ready", headers=HEADERS)
    assert status_of(idle) == 200
    busy.request("POST", PATH, body(1), HEADERS)
    assert stage.model.entered.wait(DEADLINE_S)
    closing = threading.Thread(target=stage.listener.close)
    closing.start()
    assert idle.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stage.port), DEADLINE_S)
    stage.model.released.set()
    assert status_of(busy) == 200
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    stage.service.close()
    busy.close()
    idle.close()


def test_a_client_that_leaves_harms_nobody(stage: Stage) -> None:
    stage.model.released.clear()
    gone = stage.connect()
    gone.request("POST", PATH, body(1), HEADERS)
    assert stage.model.entered.wait(DEADLINE_S)
    gone.close()
    stage.model.released.set()
    other = stage.connect()
    assert value_of(ask(other, 5)) == 10
    other.close()
