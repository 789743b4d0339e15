"""The ASGI application of a version, over real sockets: answers, refusals, limits, failures and capture."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow.dataset as ds
import pytest
import uvicorn
import uvicorn.config
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication
from rayloop.serve.capture import Capture
from rayloop.serve.protocol import one_write
from rayloop.serve.service import VersionService

SECRET = "only-the-edge-knows"
PREFIX = "/__v/digits--v7"
DEADLINE_S = 20.0
SIGNATURE = Signature(
    (ColumnSpec("a", "FP32"), ColumnSpec("b", "FP32")),
    (ColumnSpec("sum", "FP32"), ColumnSpec("parts", "FP32", width=2)),
)
BODY = {"id": "mine", "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


class Predictor:
    """Adds two columns; fails, breaks its promise or waits on request."""

    signature = SIGNATURE

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.answer: dict[str, Any] | None = None
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.num_inside = self.most_inside = 0

    def predict(self, columns: Columns) -> Columns:
        self.num_inside += 1
        self.most_inside = max(self.most_inside, self.num_inside)
        self.entered.set()
        assert self.released.wait(DEADLINE_S)
        self.num_inside -= 1
        if self.error is not None:
            raise self.error
        if self.answer is not None:
            return self.answer
        parts = np.stack([columns["a"], columns["b"]], axis=1)
        return {"sum": parts.sum(axis=1), "parts": parts}


@contextmanager
def served(application: Any, **settings: Any) -> Iterator[str]:
    """Run uvicorn in a thread on a free port, and stop it in the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="critical", ws="none", **{"lifespan": "on", **settings})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def predictor() -> Predictor:
    return Predictor()


@pytest.fixture
def client(predictor: Predictor) -> Iterator[httpx.Client]:
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET, max_body_bytes=10_000))
    headers = {"x-rayloop-secret": SECRET}
    with (
        served(application) as url,
        httpx.Client(base_url=url + PREFIX, headers=headers, timeout=DEADLINE_S) as client,
    ):
        yield client


def test_requests_in_flight_and_waiting_are_counted(predictor: Predictor) -> None:
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET))
    predictor.released.clear()
    with served(application) as url, httpx.Client(headers={"x-rayloop-secret": SECRET}, timeout=DEADLINE_S) as client:
        asked = [
            threading.Thread(target=client.post, args=(f"{url}{PREFIX}/v2/models/digits/infer",), kwargs={"json": BODY})
            for _ in range(3)
        ]
        for thread in asked:
            thread.start()
        deadline_s = time.monotonic() + DEADLINE_S
        while application.service.ongoing < 3:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        assert client.get(f"{url}{PREFIX}/ready").status_code == 200
        assert application.service.ongoing == 3
        predictor.released.set()
        for thread in asked:
            thread.join(DEADLINE_S)
        assert application.service.ongoing == 0


@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/v2/models/digits/versions/7/infer"])
def test_infer(client: httpx.Client, path: str) -> None:
    response = client.post(path, json=BODY, headers={"x-request-id": "r-1"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["x-request-id"] == "r-1"
    assert response.headers["x-rayloop-version"] == "7"
    assert response.json() == {
        "model_name": "digits",
        "model_version": "7",
        "id": "mine",
        "outputs": [
            {"name": "sum", "shape": [2], "datatype": "FP32", "data": [3.0, 7.0]},
            {"name": "parts", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]},
        ],
    }


def test_a_request_without_names_gets_one(client: httpx.Client) -> None:
    response = client.post("/v2/models/digits/infer", json={"inputs": BODY["inputs"]})
    assert len(response.headers["x-request-id"]) == 36
    assert response.json()["id"] == response.headers["x-request-id"]


def test_only_the_wanted_outputs_come_back(client: httpx.Client) -> None:
    response = client.post("/v2/models/digits/infer", json={**BODY, "outputs": [{"name": "parts"}]})
    assert [output["name"] for output in response.json()["outputs"]] == ["parts"]


@pytest.mark.parametrize("path", ["/v2/models/digits", "/v2/models/digits/versions/7"])
def test_metadata_and_ready(client: httpx.Client, path: str) -> None:
    described = client.get(path).json()
    assert (described["name"], described["versions"]) == ("digits", ["7"])
    assert described["outputs"][1] == {"name": "parts", "datatype": "FP32", "shape": [-1, 2]}
    for ready in (client.get(path + "/ready"), client.get("/ready")):
        assert ready.status_code == 200
        assert ready.json() == {"name": "digits", "version": "7", "ready": True}


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + " x", "sécret".encode()])
@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/ready", "/nowhere"])
def test_nothing_is_said_without_the_secret(client: httpx.Client, secret: str | None, path: str) -> None:
    del client.headers["x-rayloop-secret"]
    headers = {} if secret is None else {"x-rayloop-secret": secret}
    response = client.post(path, json=BODY, headers=headers)
    assert response.status_code == 403
    assert "x-rayloop-secret" in response.json()["error"]
    assert SECRET not in response.text


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v2",
        "/v2/models/other",
        "/v2/models/digits/versions/8/infer",
        "/v2/models/digits/explain",
        "/v2/models/digits/infer/",
        "/v2/models//infer",
        "/readyx",
        "/v2/models/digits/versions/07/ready",
        "/%00%ff",
    ],
)
def test_unknown_paths_are_404(client: httpx.Client, path: str) -> None:
    for response in (client.get(path), client.post(path, json=BODY)):
        assert response.status_code == 404
        assert response.json()["error"]


def test_wrong_methods_are_405(client: httpx.Client) -> None:
    for method, path, allowed in [
        ("GET", "/v2/models/digits/infer", "POST"),
        ("DELETE", "/v2/models/digits/infer", "POST"),
        ("POST", "/v2/models/digits", "GET"),
        ("PUT", "/v2/models/digits/ready", "GET"),
        ("POST", "/ready", "GET"),
    ]:
        response = client.request(method, path)
        assert (response.status_code, response.headers["allow"]) == (405, allowed)
        assert allowed in response.json()["error"]
    assert client.head("/ready").status_code == 405


def test_malformed_bodies_are_400_with_a_sentence(client: httpx.Client) -> None:
    path = "/v2/models/digits/infer"
    assert "not JSON" in client.post(path, content=b"{").json()["error"]
    binary = client.post(path, json=BODY, headers={"Inference-Header-Content-Length": "3"})
    assert "binary" in binary.json()["error"]
    assert binary.status_code == client.post(path, json={"inputs": []}).status_code == 400


def test_long_bodies_are_413_and_the_connection_lives(client: httpx.Client) -> None:
    path = "/v2/models/digits/infer"
    chunks = (b" " * 1_000 for _ in range(50))
    for response in (client.post(path, content=b" " * 10_001), client.post(path, content=chunks)):
        assert response.status_code == 413
        assert "10000 bytes" in response.json()["error"]
    padded = orjson.dumps(BODY).ljust(10_000)
    assert client.post(path, content=padded).status_code == 200
    assert client.post(path, content=iter([padded[:5_000], padded[5_000:]])).status_code == 200


@pytest.mark.parametrize("sizes", [[30], [10, 20], [10, 10, 1]])
def test_a_long_body_without_a_length_is_413_in_whatever_pieces(predictor: Predictor, sizes: list[int]) -> None:
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET, max_body_bytes=20))
    parts = [b" " * size for size in sizes]
    assert call(application, "POST", "/v2/models/digits/infer", parts=parts)[0]["status"] == 413


@pytest.mark.parametrize("answer", [None, {}, {"sum": np.zeros(3), "parts": np.zeros((2, 2))}])
def test_a_failing_model_is_500_without_a_traceback(
    client: httpx.Client, predictor: Predictor, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    predictor.answer, predictor.error = answer, ZeroDivisionError("its secret") if answer is None else None
    response = client.post("/v2/models/digits/infer", json=BODY, headers={"x-request-id": "r-9"})
    assert response.status_code == 500
    name = "ValueError" if answer is not None else "ZeroDivisionError"
    assert response.json() == {"error": f"the model failed: {name}"}
    assert any("r-9" in record.getMessage() and record.exc_info for record in caplog.records)
    predictor.answer = predictor.error = None
    assert client.post("/v2/models/digits/infer", json=BODY).status_code == 200


def test_a_model_may_refuse_its_input(client: httpx.Client, predictor: Predictor) -> None:
    sentence = "column 'a' has 3, which was never seen"
    predictor.error = InvalidInput(sentence)
    response = client.post("/v2/models/digits/infer", json=BODY)
    assert (response.status_code, response.json()) == (400, {"error": sentence})


def test_health_answers_while_the_model_is_busy_and_one_predicts_at_a_time(
    client: httpx.Client, predictor: Predictor
) -> None:
    predictor.released.clear()
    statuses: list[int] = []

    def infer() -> None:
        statuses.append(client.post("/v2/models/digits/infer", json=BODY).status_code)

    threads = [threading.Thread(target=infer) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert predictor.entered.wait(DEADLINE_S)
    assert client.get("/ready").status_code == 200  # would time out if the event loop were blocked
    assert client.get("/v2/models/digits").status_code == 200
    assert statuses == []
    predictor.released.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert statuses == [200, 200]
    assert predictor.most_inside == 1


@pytest.mark.parametrize(
    ("path", "root_path", "status"),
    [
        ("/__v/digits--v7/v2/models/digits", "/__v/digits--v7", 200),
        ("/__v/digits--v7/v2/models/digits", "", 200),
        ("/v2/models/digits", "/__v/digits--v7", 200),
        ("/v2/models/digits", "", 200),
        ("/api/__v/digits--v7/v2/models/digits", "/api", 200),
        ("/api/__v/digits--v7/v2/models/digits", "/api/__v/digits--v7", 200),
        ("/__v/digits--v70/v2/models/digits", "", 404),
        ("/__v/digits--v70/v2/models/digits", "/__v/digits--v7", 404),
        ("/elsewhere/v2/models/digits", "", 404),
    ],
)
def test_the_prefix_may_be_stripped_or_not(predictor: Predictor, path: str, root_path: str, status: int) -> None:
    messages = call(
        VersionApplication(VersionService("digits", 7, predictor, SECRET)), "GET", path, root_path=root_path
    )
    assert messages[0]["status"] == status


def call(
    application: VersionApplication,
    method: str,
    path: str,
    parts: list[bytes] | None = None,
    **scope: Any,
) -> list[Any]:
    """Call the application as a server does, the body in parts; returns the messages that it sent."""
    parts = parts or [orjson.dumps(BODY)]
    more = [True] * (len(parts) - 1) + [False]
    received = iter({"type": "http.request", "body": part, "more_body": m} for part, m in zip(parts, more, strict=True))
    sent: list[Any] = []

    async def receive() -> Any:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, **scope}
    scope.setdefault("headers", [(b"x-rayloop-secret", SECRET.encode())])
    asyncio.run(application(scope, receive, send))
    application.close()
    return sent


def test_an_answer_is_one_head_and_one_body(predictor: Predictor) -> None:
    head, body = call(
        VersionApplication(VersionService("digits", 7, predictor, SECRET)), "POST", "/v2/models/digits/infer"
    )
    assert dict(head["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert body["more_body"] is False


def test_a_client_that_leaves_gets_nothing(predictor: Predictor) -> None:
    async def run() -> list[Any]:
        sent: list[Any] = []
        received = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(received)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"x-rayloop-secret", SECRET.encode())]
        scope = {"type": "http", "method": "POST", "path": "/v2/models/digits/infer", "headers": headers}
        await VersionApplication(VersionService("digits", 7, predictor, SECRET))(scope, receive, send)
        return sent

    assert asyncio.run(run()) == []


def test_a_closed_application_is_503(predictor: Predictor) -> None:
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET))
    application.close()
    assert call(application, "POST", "/v2/models/digits/infer")[0]["status"] == 503


def test_an_empty_secret_is_refused(predictor: Predictor) -> None:
    with pytest.raises(InvalidInput, match="secret"):
        VersionApplication(VersionService("digits", 7, predictor, ""))


def test_every_infer_request_is_captured_and_drained_at_the_stop(predictor: Predictor, tmp_path: Path) -> None:
    capture = Capture("digits", 7, SIGNATURE, str(tmp_path), flush_seconds=3_600)
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET, capture, max_body_bytes=10_000))
    headers = {"x-rayloop-secret": SECRET, "x-rayloop-variant": "split", "x-rayloop-propensity": "2500"}
    headers |= {"x-rayloop-bucket": "42", "x-rayloop-revision": "3"}
    path = PREFIX + "/v2/models/digits/infer"
    with served(application) as url, httpx.Client(base_url=url, headers=headers) as client:
        client.post(path, json=BODY, headers={"x-request-id": "good"})
        client.post(path, content=b"{", headers={"x-request-id": "bad"})
        client.post(path, content=b" " * 10_001, headers={"x-request-id": "long"})
        predictor.error = ZeroDivisionError()
        client.post(path, json=BODY, headers={"x-request-id": "broken"})
        client.get(PREFIX + "/ready")
        client.post(path, json=BODY, headers={"x-rayloop-secret": "wrong"})
        assert capture.counters().queue_depth == 5
    assert capture.counters().captured == 5
    rows = {(row["request_id"], row["row"]): row for row in ds.dataset(tmp_path).to_table().to_pylist()}
    assert set(rows) == {("good", 0), ("good", 1), ("bad", 0), ("long", 0), ("broken", 0)}
    statuses = {name: row["status"] for (name, _), row in rows.items()}
    assert statuses == {"good": 200, "bad": 400, "long": 413, "broken": 500}
    second = rows["good", 1]
    assert (second["input.a"], second["output.sum"], second["output.parts"]) == (3.0, 7.0, [3.0, 4.0])
    place = [second[name] for name in ("variant", "propensity", "bucket", "revision")]
    assert place == ["split", 0.25, 42, 3]
    assert second["latency_ms"] > 0
    assert rows["broken", 0]["error"] == "the model failed: ZeroDivisionError"
    assert rows["broken", 0]["output.parts"] == [None, None]


def test_requests_succeed_though_capture_cannot_write(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    capture = Capture("digits", 7, SIGNATURE, str(tmp_path / "file"))
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET, capture))
    with served(application) as url:
        for _ in range(3):
            response = httpx.post(
                f"{url}{PREFIX}/v2/models/digits/infer", json=BODY, headers={"x-rayloop-secret": SECRET}
            )
            assert response.status_code == 200
            assert capture.flush()
    assert capture.counters().failed == 6


class Transport(asyncio.Transport):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


def test_a_head_waits_for_its_body_but_not_for_long() -> None:
    async def run() -> list[bytes]:
        inner = Transport()
        outer = one_write.OneWriteTransport(inner, asyncio.get_running_loop())
        outer.write(HEAD)
        assert inner.writes == []
        outer.write(b"ok")
        await asyncio.sleep(0)
        outer.write(HEAD)
        await asyncio.sleep(0)  # no body came in this turn of the loop
        outer.write(b"ok")
        outer.write(HEAD)
        outer.close()
        assert outer.is_closing()
        await asyncio.sleep(0)
        return inner.writes

    assert asyncio.run(run()) == [HEAD + b"ok", HEAD, b"ok", HEAD]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_answer_leaves_in_one_write(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "none:none")
    one_write.install()
    application = VersionApplication(VersionService("digits", 7, predictor, SECRET))
    content = orjson.dumps(BODY)
    request = f"POST {PREFIX}/v2/models/digits/infer HTTP/1.1\r\nhost: h\r\nx-rayloop-secret: {SECRET}\r\n"
    request += f"content-length: {len(content)}\r\n\r\n"
    with served(application, loop=loop) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        with socket.create_connection(address, DEADLINE_S) as connection:
            for _ in range(50):
                connection.sendall(request.encode() + content)
                answer = connection.recv(65_536)  # the first segment, so the whole answer was in one
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                assert answer.endswith(b"}]}")
