"""Content types of MLServer's codecs in V2 requests: what is unpacked, what stays, and what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.signature import ColumnSpec, Signature
from rayloop.serve.protocol import decode

OUT = (ColumnSpec("y", "FP32"),)
TEXT = Signature((ColumnSpec("t", "BYTES"),), OUT)
WHOLE = Signature((ColumnSpec("w", "INT64"), ColumnSpec("t", "BYTES")), OUT)
WIDE = Signature((ColumnSpec("v", "FP32", width=2),), OUT)


def read(signature: Signature, *tensors: dict[str, Any]) -> dict[str, Any]:
    request = decode(orjson.dumps({"inputs": list(tensors)}), signature)
    return {name: values.tolist() for name, values in request.columns.items()}


def tensor(name: str, named: str, data: Any, datatype: str = "BYTES") -> dict[str, Any]:
    shape = [len(data), 1]
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, "parameters": {"content_type": named}}


@pytest.mark.parametrize(
    ("named", "data", "values"),
    [
        ("base64", ["a8O2bG4=", ""], ["köln", ""]),
        ("base64", [["a8O2bG4="], [""]], ["köln", ""]),
        ("pd_json", ['"köln"', '""'], ["köln", ""]),
        ("str", ["a8O2bG4=", '""'], ["a8O2bG4=", '""']),
        ("datetime", ["2026-01-02T03:04:05"], ["2026-01-02T03:04:05"]),
    ],
)
def test_text(named: str, data: Any, values: list[str]) -> None:
    assert read(TEXT, tensor("t", named, data)) == {"t": values}
    assert read(TEXT, tensor("input-1", named, data)) == {"t": values}


@pytest.mark.parametrize(
    ("data", "values"), [(["3", "4"], [3, 4]), (["3.0", "4"], [3, 4]), (["true", "false"], [1, 0])]
)
def test_a_column_of_objects_has_its_own_types(data: list[str], values: list[int]) -> None:
    found = read(WHOLE, tensor("w", "pd_json", data), tensor("t", "pd_json", ['"a"', '"b"']))
    assert found == {"w": values, "t": ["a", "b"]}


def test_a_column_of_lists_is_a_wide_one() -> None:
    assert read(WIDE, tensor("v", "pd_json", ["[1,2]", "[3,4.5]"])) == {"v": [[1, 2], [3, 4.5]]}


def test_a_content_type_says_nothing_of_numbers() -> None:
    numbers = {"name": "w", "shape": [1], "datatype": "INT64", "data": [3], "parameters": {"content_type": "base64"}}
    assert read(WHOLE, numbers, tensor("t", "base64", ["YQ=="])) == {"w": [3], "t": ["a"]}


@pytest.mark.parametrize(
    ("named", "data", "words"),
    [
        ("base64", ["köln"], "base64"),
        ("base64", ["YQ"], "base64"),
        ("base64", ["/w=="], "UTF-8"),
        ("base64", [1], "BYTES takes text"),
        ("pd_json", ["{"], "not JSON"),
        ("pd_json", ["null"], "numbers"),
        ("pd_json", ['"a"', "null"], "null"),
        ("pd_json", ["{}"], "an object"),
        ("pd_json", ["[[1]]"], "BYTES takes text"),
        ("pd_json", ["[]"], "a row"),
        ("pd_json", ["[1]", "[1,2]"], "row of 2"),
        ("pd_json", ["[" * 2_000 + "]" * 2_000], "not JSON"),
        (["base64"], ["YQ=="], None),
        ({}, ["YQ=="], None),
    ],
)
def test_what_does_not_hold_is_refused(named: Any, data: list[Any], words: str | None) -> None:
    if words is None:  # a content type that is no text is no content type
        assert read(TEXT, tensor("t", named, data)) == {"t": ["YQ=="]}
        return
    with pytest.raises(InvalidInput, match=words):
        read(TEXT, tensor("t", named, data))
