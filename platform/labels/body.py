"""Reads labels from bytes that somebody sent: a JSON list, or a JSON object on each line; all of it or nothing."""

from __future__ import annotations

from typing import Any

import orjson

from ..errors import InvalidInput
from .record import Label, read_label

MAX_RECORDS = 10_000


def parse_body(content: bytes, most: int | None = MAX_RECORDS) -> list[Label]:
    """Read every record; the first fault refuses the whole body and names the record or line.

    >>> [label.text for label in parse_body(b'[{"request_id": "a", "label": 1}]')]
    ['1']
    >>> [label.text for label in parse_body(b'{"request_id": "a", "label": "x"}\\n{"request_id": "b", "label": 2}')]
    ['x', '2']
    """
    stripped = content.strip()
    if not stripped:
        raise InvalidInput("the body is empty; it must be a JSON list of labels, or one JSON object a line")
    if stripped.startswith(b"["):
        found: list[object] = _json(stripped, "the body")
        named = [(record, f"record {place}") for place, record in enumerate(found, start=1)]
        if not named:
            raise InvalidInput("the body is an empty list; it must hold at least one label")
    else:
        lines = [(line, f"line {place}") for place, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
        _require_few(len(lines), most)
        named = [(_json(line, place), place) for line, place in lines]
    _require_few(len(named), most)
    return [read_label(record, place) for record, place in named]


def _require_few(records: int, most: int | None) -> None:
    if most is not None and records > most:
        raise InvalidInput(f"the body has {records} labels, and {most} are the most that one may have")


def _json(text: bytes, place: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{place} is no JSON: {str(error).split(':')[0]}; nothing was stored") from None
