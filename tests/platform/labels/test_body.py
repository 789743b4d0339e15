"""A body is a JSON list or JSON lines, is read as a whole, and has a bound."""

from __future__ import annotations

import json

import pytest
from rayloop.platform import labels
from rayloop.platform.errors import InvalidInput
from rayloop.platform.labels import MAX_RECORDS, Label, parse_body

RECORDS = [{"request_id": "a", "label": 1}, {"request_id": "b", "row": 2, "label": "x"}]
READ = [Label("a", 0, "1", 1.0), Label("b", 2, "x", None)]


def test_public_names_exist() -> None:
    assert [name for name in labels.__all__ if not hasattr(labels, name)] == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_list_and_lines_are_the_same(end: str) -> None:
    assert parse_body(json.dumps(RECORDS).encode()) == READ
    assert parse_body(end.join(json.dumps(record) for record in RECORDS).encode()) == READ


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "the body is empty"),
        (b" [] ", "an empty list"),
        (b'[{"request_id": "a", "label": 1}, {"request_id": "b"}]', "record 2 has no label"),
        (b'{"request_id": "a", "label": 1}\n\n{"request_id": "b"}', "line 3 has no label"),
        (b'{"request_id": "a", "label": 1}\n{"request_id"', "line 2 is no JSON"),
        (b"[1", "the body is no JSON"),
        (b'[{"request_id": "a", "label": NaN}]', "the body is no JSON"),
        (b"request_id,label\na,1", "line 1 is no JSON"),
    ],
)
def test_one_fault_refuses_the_whole_body(body: bytes, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault):
        parse_body(body)


def test_a_body_has_a_bound() -> None:
    line = b'{"request_id": "a", "label": 1}\n'
    assert len(parse_body(line * MAX_RECORDS)) == MAX_RECORDS
    listed = b"[" + b",".join([line] * (MAX_RECORDS + 1)) + b"]"
    for body in (line * (MAX_RECORDS + 1), listed):
        with pytest.raises(InvalidInput, match="has 10001 labels, and 10000 are the most"):
            parse_body(body)
    assert len(parse_body(listed, most=None)) == MAX_RECORDS + 1
