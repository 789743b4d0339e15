"""Triton's own HTTP client against the edge: it is the reader that most users have."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.http as triton


@pytest.fixture
def client(front: Any) -> Iterator[Any]:
    client = triton.InferenceServerClient(front.host)
    yield client
    client.close()


def inputs(*, rows: int = 2, is_binary: bool = True) -> list[Any]:
    values = {
        "number": ("FP32", np.linspace(0, 1, rows, dtype=np.float32)),
        "text": ("BYTES", np.array([f"köln{row}" for row in range(rows)], dtype=object)),
        "whole": ("INT64", np.arange(rows) * 10),
        "flag": ("BOOL", np.zeros(rows, bool)),
    }
    made = []
    for name, (datatype, given) in values.items():
        made.append(triton.InferInput(name, [rows], datatype))
        made[-1].set_data_from_numpy(given, binary_data=is_binary)
    return made


def check(result: Any, rows: int = 2) -> None:
    np.testing.assert_allclose(result.as_numpy("double"), 2 * np.linspace(0, 1, rows, dtype=np.float32))
    shouted = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("shout")]
    assert shouted == [f"KÖLN{row}" for row in range(rows)]
    np.testing.assert_array_equal(result.as_numpy("is_big"), np.arange(rows) > 0)


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize(("version", "answers"), [("", "1"), ("2", "2")])
def test_infer(client: Any, is_binary: bool, version: str, answers: str) -> None:
    result = client.infer("m", inputs(is_binary=is_binary), version, request_id="mine")
    check(result)
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("mine", answers)


def test_many_at_once(client: Any) -> None:
    for asked in [client.async_infer("m", inputs(rows=rows)) for rows in range(1, 9)]:
        result = asked.get_result()
        check(result, rows=len(result.as_numpy("double")))


def test_wanted_outputs_binary_and_not(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("double"), triton.InferRequestedOutput("shout", binary_data=False)]
    result = client.infer("m", inputs(), outputs=outputs)
    assert result.as_numpy("double").tolist() == [0.0, 2.0]
    assert [text if isinstance(text, str) else text.decode() for text in result.as_numpy("shout")] == ["KÖLN0", "KÖLN1"]
    assert result.as_numpy("is_big") is None


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_compression_both_ways(client: Any, request_coding: str | None, response_coding: str | None) -> None:
    result = client.infer(
        "m",
        inputs(rows=500),
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
    )
    check(result, rows=500)


def test_server_and_repository(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    states = {(entry["name"], entry["version"]): entry["state"] for entry in client.get_model_repository_index()}
    assert (states[("m", "1")], states[("m", "2")], len(states)) == ("READY", "UNKNOWN", 6)


def test_metadata_configuration_and_statistics(client: Any) -> None:
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "2")
    assert not client.is_model_ready("nobody")
    assert client.get_model_metadata("m", "2")["versions"] == ["2"]
    assert client.get_model_metadata("m")["inputs"][1] == {"name": "text", "datatype": "BYTES", "shape": [-1]}
    described = client.get_model_config("table")
    assert (described["name"], described["max_batch_size"]) == ("table", 0)
    assert described["input"][0] == {"name": "a", "data_type": "TYPE_FP32", "dims": [-1]}
    assert described["output"][1] == {"name": "p", "data_type": "TYPE_FP32", "dims": [-1, 2]}
    client.infer("m", inputs())
    stats = client.get_inference_statistics("m", "1")["model_stats"][0]
    assert (stats["name"], stats["version"]) == ("m", "1")
    assert stats["inference_stats"]["success"]["count"] > 0


def test_what_is_refused_reaches_the_caller_as_a_sentence(client: Any) -> None:
    short = triton.InferInput("number", [1], "FP32")
    short.set_data_from_numpy(np.zeros(1, np.float32))
    with pytest.raises(triton.InferenceServerException, match="misses"):
        client.infer("m", [short])
    for refused in (lambda: client.load_model("m"), client.get_log_settings, lambda: client.get_model_config("nobody")):
        with pytest.raises(triton.InferenceServerException, match=r"served (at this path|here)"):
            refused()
    ranked = [triton.InferRequestedOutput("double", class_count=2)]
    with pytest.raises(triton.InferenceServerException, match="classification"):
        client.infer("m", inputs(), outputs=ranked)


def test_with_a_token(front: Any, client: Any) -> None:
    with front.closed() as token:
        check(client.infer("m", inputs(), headers={"Authorization": f"Bearer {token}"}))
        with pytest.raises(triton.InferenceServerException, match="a token is needed"):
            client.infer("m", inputs())
        assert client.is_server_ready()
