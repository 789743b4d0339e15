"""Reading JSON: Python's NaN is null, and nothing else that JSON does not have is let in."""

from __future__ import annotations

import json
import time

import orjson
import pytest
from rayloop.serve.protocol.document import read_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [NaN, 1, NaN], "b": NaN}', {"a": [None, 1, None], "b": None}),
        ('["NaN", NaN, "a\\"NaN", "\\\\", NaN]', ["NaN", None, 'a"NaN', "\\", None]),
        ("NaN", None),
        ('{"NaN": NaN}', {"NaN": None}),
        (json.dumps([float("nan"), "é NaN"]), [None, "é NaN"]),
    ],
)
def test_nan_is_null(text: str, value: object) -> None:
    assert read_json(text.encode()) == value
    assert read_json(memoryview(bytearray(text.encode()))) == value


@pytest.mark.parametrize(
    "text", ["-NaN", "NaNa", "NaN1", "[NaN", '"NaN', '"NaN\\', "[Infinity, NaN]", "1NaN", "[NaN NaN]", "{NaN: 1}", ""]
)
def test_nothing_else_is_let_in(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_json(text.encode())


@pytest.mark.parametrize("part", [b'\\"', b'"', b"NaN", b'"\\'])
def test_a_hostile_body_is_read_in_one_pass(part: bytes) -> None:
    began_s = time.perf_counter()
    with pytest.raises(orjson.JSONDecodeError):
        read_json(b'"NaN ' + part * (1_000_000 // len(part)) + b"\\")
    assert time.perf_counter() - began_s < 5  # a second look at each quote would take hours
