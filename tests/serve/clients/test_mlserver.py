"""MLServer's codecs and its `infer` command against the edge."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def told(front: Any, calls_of: Any) -> Any:
    return calls_of("mlserver", front.url)


@pytest.mark.parametrize(
    ("call", "shout"),
    [("frame", ["KÖLN", "B"]), ("frame of text", ["KÖLN", "B"]), ("frame of objects", ["A", "B"])],
)
def test_a_pandas_frame_is_a_tensor_for_each_column(told: Any, call: str, shout: list[str]) -> None:
    read = told[call]
    assert (read["double"][0], read["shout"], read["is_big"]) == (1.0, shout, [True, True])
    assert math.isnan(read["double"][1])


def test_numpy_and_string_tensors(told: Any) -> None:
    assert told["one by one"] == [[1.0, 2.0], ["KÖLN", "B"]]
    assert told["matrix"] == {"prediction": [1, 0], "p": [[0.0, 1.0], [1.0, 0.0]]}


@pytest.mark.parametrize("call", ["strings", "strings as they come"])
def test_strings(told: Any, call: str) -> None:
    assert told[call] == [[4, 0], ["köln", ""]]


def test_base64_and_datetimes(told: Any) -> None:
    assert told["base64"] == [[4, 3], ["köln", "abc"]]
    assert told["datetime"] == ["2026-01-02 03:04:05"]


def test_metadata_is_what_its_types_read(told: Any) -> None:
    assert told["metadata"] == ["rayloop", ["2"], ["m", "m", "page", "page", "table", "words"], 200, [200, 200]]


@pytest.mark.parametrize("call", ["command line", "command line, binary"])
def test_its_infer_command(told: Any, call: str) -> None:
    assert told[call] == [{"prediction": [1], "p": [0.0, 1.0]}] * 3


def test_what_is_refused_is_an_error_that_it_reads(told: Any) -> None:
    assert told["refused"]["says"] == "400: input 'text': the values are numbers, but column 'text' is BYTES"
