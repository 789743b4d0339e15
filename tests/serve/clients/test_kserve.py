"""KServe's own Python client against the edge: V1 and V2, in JSON and binary, with and without a token."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.clients

OUTPUTS = {"double": [0.0, 2.0], "shout": ["KÖLN0", "KÖLN1"], "is_big": [True, True]}
TYPES = {"double": "FP64", "shout": "BYTES", "is_big": "BOOL"}
PREDICTIONS = {"predictions": [{"double": 2.0, "shout": "A", "is_big": False}]}


@pytest.fixture(scope="module")
def told(front: Any, calls_of: Any) -> Any:
    return calls_of("kserve", front.url)


@pytest.mark.parametrize(
    "call", ["v1 live", "v2 live", "v2 ready", "v1 model ready", "v2 model ready", "v2 version ready"]
)
def test_it_lives_and_is_ready(told: Any, call: str) -> None:
    assert told[call] is True


def test_an_unknown_model_is_not_ready(told: Any) -> None:
    assert told["v2 no such model"] is False
    assert told["v1 no such model"]["raised"] == "HTTPStatusError"
    assert 'model "nobody" is not served here' in told["v1 no such model"]["says"]


@pytest.mark.parametrize("call", ["json", "binary", "binary in, json out"])
def test_v2_inference(told: Any, call: str) -> None:
    assert told[call] == {"id": "mine", "model": "m", "outputs": OUTPUTS, "types": TYPES}


def test_v2_with_chosen_outputs(told: Any) -> None:
    assert told["two outputs"]["outputs"] == {name: OUTPUTS[name] for name in ("double", "shout")}


def test_v2_in_half_precision(told: Any) -> None:
    assert told["half precision"] == {"prediction": [0], "p": [[0.0, 1.0]]}


def test_v1_prediction(told: Any) -> None:
    assert told["v1 predict"] == PREDICTIONS
    assert told["graph"] == PREDICTIONS


def test_what_is_refused_reaches_the_caller_as_a_sentence(told: Any) -> None:
    assert "key 'inputs' is empty; it must list tensors, '400 Bad Request'" in told["v2 refused"]["says"]
    assert "'404 Not Found'" in told["v1 explain"]["says"]


def test_with_a_token(front: Any, calls_of: Any, told: Any) -> None:
    with front.closed() as token:
        assert calls_of("kserve", front.url, token) == told
        refused = calls_of("kserve", front.url)
    assert (refused["v1 live"], refused["v2 ready"], refused["v2 model ready"]) == (True, True, False)
    assert "a token is needed" in refused["json"]["says"]
