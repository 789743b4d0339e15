"""Triton's own HTTP client against a version, over a real socket: it is the reader that most users have."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http], a test client")

SECRET = "only-the-edge-knows"
HEADERS = {"x-rayloop-secret": SECRET}


class Predictor:
    signature = Signature(
        (ColumnSpec("number", "FP32"), ColumnSpec("text", "BYTES"), ColumnSpec("whole", "INT64")),
        (ColumnSpec("double", "FP64"), ColumnSpec("shout", "BYTES"), ColumnSpec("is_big", "BOOL")),
    )

    def predict(self, columns: Columns) -> Columns:
        shout = np.array([text.upper() for text in columns["text"].tolist()], dtype=object)
        return {"double": columns["number"] * 2.0, "shout": shout, "is_big": columns["whole"] > 9}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    application = VersionApplication("m", 1, Predictor(), SECRET)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listener.close()


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(f"{address}/__v/m--v1")
    yield client
    client.close()


def inputs(*, rows: int = 2, binary: bool = True) -> list[Any]:
    values = {
        "number": np.linspace(0, 1, rows, dtype=np.float32),
        "text": np.array([f"köln{row}" for row in range(rows)], dtype=object),
        "whole": np.arange(rows) * 10,
    }
    made = []
    for name, datatype in (("number", "FP32"), ("text", "BYTES"), ("whole", "INT64")):
        made.append(triton.InferInput(name, [rows], datatype))
        made[-1].set_data_from_numpy(values[name], binary_data=binary)
    return made


def check(result: Any, rows: int = 2) -> None:
    np.testing.assert_allclose(result.as_numpy("double"), 2 * np.linspace(0, 1, rows, dtype=np.float32))
    shouted = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("shout")]
    assert shouted == [f"KÖLN{row}" for row in range(rows)]
    np.testing.assert_array_equal(result.as_numpy("is_big"), np.arange(rows) > 0)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", ["", "1"])
def test_infer(client: Any, binary: bool, version: str) -> None:
    result = client.infer("m", inputs(binary=binary), version, request_id="mine", headers=dict(HEADERS))
    check(result)
    assert result.get_response()["id"] == "mine"


def test_wanted_outputs_binary_and_not(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("double"), triton.InferRequestedOutput("shout", binary_data=False)]
    result = client.infer("m", inputs(), outputs=outputs, headers=dict(HEADERS))
    assert result.as_numpy("double").tolist() == [0.0, 2.0]
    assert [text if isinstance(text, str) else text.decode() for text in result.as_numpy("shout")] == ["KÖLN0", "KÖLN1"]
    assert result.as_numpy("is_big") is None


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_compression_both_ways(client: Any, request_coding: str | None, response_coding: str | None) -> None:
    result = client.infer(
        "m",
        inputs(rows=500),
        headers=dict(HEADERS),
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    check(result, rows=500)


def test_metadata_readiness_statistics_and_errors(client: Any) -> None:
    assert client.is_model_ready("m", headers=dict(HEADERS))
    assert client.get_model_metadata("m", headers=dict(HEADERS))["inputs"][1]["datatype"] == "BYTES"
    client.infer("m", inputs(), headers=dict(HEADERS))
    stats = client.get_inference_statistics("m", "1", headers=dict(HEADERS))["model_stats"][0]
    assert (stats["name"], stats["version"]) == ("m", "1")
    assert stats["inference_stats"]["success"]["count"] > 0
    short = triton.InferInput("number", [1], "FP32")
    short.set_data_from_numpy(np.zeros(1, np.float32))
    with pytest.raises(triton.InferenceServerException, match="misses"):
        client.infer("m", [short], headers=dict(HEADERS))
