"""The client against a version over a real socket, and against transports that lose and refuse."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import uvicorn
from rayloop.platform.errors import InvalidInput, RayloopError, Unavailable
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication
from rayloop.serve.client import AsyncClient, Client, EndpointError, EndpointUnavailable, Prediction, Retry
from rayloop.serve.service import VersionService

HEADERS = {"x-rayloop-secret": "s"}
FAST = Retry(attempts=3, base_s=0.001)


class Predictor:
    signature = Signature(
        (ColumnSpec("a", "FP32"), ColumnSpec("b", "INT64"), ColumnSpec("t", "BYTES")),
        (
            ColumnSpec("sum", "FP64"),
            ColumnSpec("both", "FP32", width=2),
            ColumnSpec("t", "BYTES"),
            ColumnSpec("ok", "BOOL"),
        ),
    )

    def predict(self, columns: Columns) -> Columns:
        both = np.stack([columns["a"], columns["b"]], axis=1)
        return {"sum": both.sum(axis=1), "both": both, "t": columns["t"], "ok": columns["b"] > 3}


class Matrix(Predictor):
    signature = Signature((ColumnSpec("a", "FP32"), ColumnSpec("b", "FP32")), (ColumnSpec("sum", "FP32"),))

    def predict(self, columns: Columns) -> Columns:
        return {"sum": columns["a"] + columns["b"]}


class BothModels:
    """Sends a request to the one or the other version, as an edge does."""

    def __init__(self) -> None:
        self.versions = [
            VersionApplication(VersionService("m", 3, Predictor(), "s")),
            VersionApplication(VersionService("matrix", 4, Matrix(), "s")),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.versions["/matrix" in scope["path"]](scope, receive, send)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    application = BothModels()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listener.close()
    for version in application.versions:
        version.close()


COLUMNS: dict[str, Any] = {"a": np.array([1.5, np.nan], np.float32), "b": [2, 4], "t": ["Köln", ""]}


def check(prediction: Prediction) -> None:
    assert (prediction.model, prediction.version, prediction.request_id) == ("m", "3", "mine")
    np.testing.assert_array_equal(prediction["sum"], [3.5, np.nan])
    np.testing.assert_array_equal(prediction["both"], np.array([[1.5, 2], [np.nan, 4]], np.float32))
    assert {name: str(values.dtype) for name, values in prediction.outputs.items()} == {
        "sum": "float64", "both": "float32", "t": "object", "ok": "bool"}  # fmt: skip
    assert prediction["t"].tolist() == ["Köln", ""]
    assert prediction["ok"].tolist() == [False, True]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", [None, 3, "3"])
def test_columns(url: str, binary: bool, version: Any) -> None:
    with Client(url, headers=HEADERS, binary=binary) as client:
        check(client.infer("m", COLUMNS, version=version, request_id="mine"))


def test_columns_without_blocking(url: str) -> None:
    async def run() -> list[Prediction]:
        async with AsyncClient(url, headers=HEADERS) as client:
            return await asyncio.gather(*(client.infer("m", COLUMNS, request_id="mine") for _ in range(20)))

    for prediction in asyncio.run(run()):
        check(prediction)


@pytest.mark.parametrize("matrix", [[[1, 2], [3, 4]], np.array([[1, 3], [2, 4]], np.float16).T])
def test_a_matrix(url: str, matrix: Any) -> None:
    with Client(url, headers=HEADERS) as client:
        assert client.infer("matrix", matrix).outputs["sum"].tolist() == [3.0, 7.0]


def test_a_refusal_carries_status_and_sentence(url: str) -> None:
    with Client(url, headers=HEADERS) as client:
        for model, inputs, status, words in [("m", {"a": [1.0]}, 400, "misses"), ("other", COLUMNS, 404, "nothing")]:
            with pytest.raises(EndpointError, match=words) as raised:
                client.infer(model, inputs)
            assert raised.value.status == status
            assert not isinstance(raised.value, Unavailable)


@pytest.mark.parametrize("inputs", [{}, 3.0, [], np.zeros((1, 1, 1)), {"a": [1j]}, {"a": [None]}, {"a": [b"x", 1, {}]}])
def test_what_cannot_be_sent_is_refused(inputs: Any) -> None:
    with Client("http://localhost:1") as client, pytest.raises(InvalidInput):
        client.infer("m", inputs)


GOOD = {"model_name": "m", "model_version": "1", "id": "i", "outputs": [
    {"name": "y", "shape": [2], "datatype": "FP32", "data": [1, None]}]}  # fmt: skip


class Server:
    """Answers in turn what it is told; an exception is raised instead."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return httpx.Response(status, content=body if isinstance(body, bytes) else orjson.dumps(body))


def ask(server: Server, is_async: bool, **options: Any) -> Prediction:
    if not is_async:
        with Client("http://h/base", retry=FAST, transport=httpx.MockTransport(server), **options) as client:
            return client.infer("m", [[1.0]], session="mine", request_id="r")

    async def run() -> Prediction:
        async with AsyncClient("http://h/base", retry=FAST, transport=httpx.MockTransport(server), **options) as client:
            return await client.infer("m", [[1.0]], session="mine", request_id="r")

    return asyncio.run(run())


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "first", [httpx.ConnectError("no"), httpx.ReadError("cut"), (502, b""), (503, {}), (504, b"x")]
)
def test_what_may_pass_is_tried_again(is_async: bool, first: Any) -> None:
    server = Server(first, (503, {"error": "busy"}), (200, GOOD))
    np.testing.assert_array_equal(ask(server, is_async, token="t")["y"], np.array([1, np.nan], np.float32))
    assert len(server.requests) == 3
    last = server.requests[-1]
    assert last.url == "http://h/base/v2/models/m/infer"
    assert last.content == server.requests[0].content
    sent = [last.headers[name] for name in ("authorization", "x-session-id", "x-request-id")]
    assert sent == ["Bearer t", "mine", "r"]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_last_failure_is_raised(is_async: bool) -> None:
    for server in (Server(*[(503, {"error": "busy"})] * 3), Server(*[httpx.ConnectError("busy")] * 3)):
        with pytest.raises(EndpointUnavailable, match="busy") as raised:
            ask(server, is_async)
        assert raised.value.status == 503
        assert isinstance(raised.value, RayloopError)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429, 500, 501])
def test_other_statuses_are_final(is_async: bool, status: int) -> None:
    server = Server((status, {"error": "no"}))
    with pytest.raises(EndpointError, match="no") as raised:
        ask(server, is_async)
    assert raised.value.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", {}, [], {"outputs": [{"name": "y"}]}, {**GOOD, "outputs": 3}])
def test_an_answer_of_something_else_is_502(body: Any) -> None:
    with pytest.raises(EndpointError, match="no V2 answer"):
        ask(Server((200, body)), is_async=False)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_timeout_is_final(is_async: bool) -> None:
    server = Server(httpx.ReadTimeout("long"))
    with pytest.raises(EndpointUnavailable, match="long") as raised:
        ask(server, is_async)
    assert (raised.value.status, len(server.requests)) == (504, 1)


def test_a_url_needs_its_scheme() -> None:
    with pytest.raises(InvalidInput, match="localhost:8080"):
        Client("localhost:8080")


def test_waits_grow_up_to_a_bound_and_heed_the_server() -> None:
    retry = Retry(base_s=0.1, max_s=1.0)
    for failed, longest in [(1, 0.1), (2, 0.2), (3, 0.4), (10, 1.0)]:
        assert longest / 2 <= retry.wait_s(failed) <= longest
    assert retry.wait_s(1, asked_s=0.7) == 0.7
    assert retry.wait_s(1, asked_s=3_600) == 1.0
    with pytest.raises(InvalidInput, match="attempts"):
        Client("http://h", retry=Retry(attempts=0))
