"""Owns what a version answers to one HTTP request, before any server writes it."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from .protocol import Codec
from .protocol.exchange import JSON_TYPE

TEXT_TYPE = "text/plain; charset=utf-8"


class Reply(NamedTuple):
    """A status and a body; `headers` come on top of those that every reply has, `error` is what the body says."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media_type: str = JSON_TYPE
    error: str | None = None


def json_reply(status: int, value: object) -> Reply:
    """Answer with a JSON value."""
    return Reply(status, orjson.dumps(value))


def refusal(
    status: int, sentence: str, codec: Codec | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    """Answer with one sentence, in the way of the protocol that was spoken."""
    body = orjson.dumps({"error": sentence}) if codec is None else codec.refuse(status, sentence)
    return Reply(status, body, headers, error=sentence)
