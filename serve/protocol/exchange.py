"""Owns what every protocol turns a body into, and what it makes of a model's answer; it knows no wire format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ...platform.errors import InvalidInput
from ...platform.model.signature import Columns

JSON_TYPE = "application/json"

Buffer = bytes | bytearray


class UnsupportedMedia(InvalidInput):
    """The body is of a media type or a coding that is not read here."""

    status = 415


class Request(NamedTuple):  # made for each request, as is the answer: a frozen dataclass takes five times as long
    """What a request asks: `rows` rows in the model's columns, and the outputs wanted (none named: all).

    `params` go to the model beside the rows, and only requests with equal ones are answered together. `binary`
    names the outputs to answer as raw bytes.
    """

    id: str | None
    columns: Columns
    rows: int
    parameters: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    params: Mapping[str, Any] | None = None


class Answer(NamedTuple):
    """A body; `header_length` is the length of its JSON where raw tensors follow."""

    body: bytes
    media_type: str = JSON_TYPE
    header_length: int | None = None


class Codec(Protocol):
    """One protocol, bound to one version of one model."""

    def decode(self, body: Buffer, headers: Mapping[str, str]) -> Request:
        """Read a body; raises InvalidInput, and nothing else, where it breaks a rule."""
        ...

    def encode(self, request: Request, outputs: Columns, request_id: str) -> Answer:
        """Write the answer; `outputs` are as `checked_outputs` gives them."""
        ...

    def refuse(self, status: int, sentence: str) -> bytes:
        """Write why there is no answer: an object whose key 'error' is the sentence."""
        ...
