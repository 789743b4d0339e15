"""Triton's own gRPC client against the edge, with and without a token."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.clients

ANSWER = {"id": "mine", "version": "1", "double": [0.0, 2.0], "shout": ["KÖLN0", "KÖLN1"], "is_big": [False, True]}


@pytest.fixture(scope="module")
def told(grpc_front: Any, calls_of: Any) -> Any:
    return calls_of("triton_grpc", f"127.0.0.1:{grpc_front.grpc_port}")


def test_it_lives_is_ready_and_described(told: Any) -> None:
    assert (told["live"], told["ready"], told["model ready"]) == (True, True, True)
    assert (told["server"], told["model"]) == ("rayloop", ["number", "text", "whole", "flag"])


def test_inference(told: Any) -> None:
    assert told["infer"] == ANSWER
    assert told["pinned"] == {**ANSWER, "version": "2"}
    assert told["one output"] == {"id": "mine", "version": "1", "double": [0.0, 2.0]}
    assert told["many at once"] == [[0.0, 2.0]] * 8


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("classes", "[StatusCode.INVALID_ARGUMENT] output 'double': parameter 'classification' is not offered here"),
        ("no such model", '[StatusCode.NOT_FOUND] model "nobody" is not served here'),
        ("compressed", "[StatusCode.UNIMPLEMENTED] compressed messages are not read here"),
        ("configuration", "[StatusCode.UNIMPLEMENTED] nothing is served at this path"),
    ],
)
def test_what_is_refused_reaches_the_caller_as_a_sentence(told: Any, call: str, says: str) -> None:
    assert told[call]["raised"] == "InferenceServerException"
    assert told[call]["says"].startswith(says)


def test_with_a_token(grpc_front: Any, calls_of: Any, told: Any) -> None:
    target = f"127.0.0.1:{grpc_front.grpc_port}"
    with grpc_front.closed() as token:
        assert calls_of("triton_grpc", target, token) == told
        refused = calls_of("triton_grpc", target)
    assert (refused["live"], refused["ready"]) == (True, True)
    assert refused["infer"]["says"] == "[StatusCode.UNAUTHENTICATED] a token is needed"
