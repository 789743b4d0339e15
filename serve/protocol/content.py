"""Owns the content types of MLServer's codecs that say more than a tensor's datatype; it knows no request.

`base64` is text behind base64, and `pd_json` a column of Python objects, each written as JSON. All others that its
codecs write (`np`, `str`, `datetime`, `pd`) are what the datatype says anyway.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from ...platform.errors import InvalidInput
from .tensor import flatten, show

# A tensor's datatype, shape and JSON data.
Content = tuple[str, tuple[int, ...], object]

CONTENT_TYPES = frozenset({"base64", "pd_json"})


def content_type(parameters: object) -> str | None:
    """Tell the content type that a tensor's parameters name, if it is one of those read here."""
    named = parameters.get("content_type") if isinstance(parameters, dict) else None
    return named if isinstance(named, str) and named in CONTENT_TYPES else None


def unpacked(named: str, content: Content, where: str) -> Content:
    """Undo a content type of BYTES; other datatypes stay as they are. Raises InvalidInput."""
    datatype, shape, data = content
    if datatype != "BYTES":
        return content
    texts = flatten(data, shape, where)
    if set(map(type, texts)) != {str}:
        return content  # and the values themselves will be refused
    if named == "base64":
        return datatype, shape, [_text(text, where) for text in texts]
    return _from_json(texts, shape, where)


def _text(encoded: str, where: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{where}: value {show(encoded)} is not the base64 of UTF-8 text") from None


def _from_json(texts: list[str], shape: tuple[int, ...], where: str) -> Content:
    values: list[Any] = []
    for text in texts:
        try:
            values.append(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"{where}: value {show(text)} is not JSON: {error}") from None
    types = set(map(type, values))
    if types == {list}:  # a column of lists is a wide one
        shape = (len(values), len(values[0]))
        values = flatten(values, shape, where) if values[0] else []
        types = set(map(type, values))
    return _datatype(types), shape, values


def _datatype(types: set[type]) -> str:
    if str in types or not types <= {bool, int, float, type(None)}:
        return "BYTES"
    if bool in types:
        return "BOOL"
    return "INT64" if types == {int} else "FP64"
