"""Owns reading JSON out of a body: strict, but for the `NaN` that Python's own `json` writes; it knows no protocol."""

from __future__ import annotations

import re
from typing import Any

import orjson

# A text whole, ended or not, so that each byte is looked at once whatever comes; or a bare NaN.
_TEXT_OR_NAN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|(?<![\w.+-])NaN(?![\w.])', re.DOTALL)


def read_json(content: bytes | bytearray | memoryview) -> Any:
    """Read a document; NaN is null. Raises orjson.JSONDecodeError, which names a place in the document.

    MLflow's helpers and `json.dumps` write NaN though JSON has none.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        plain = bytes(content)
        if b"NaN" not in plain:
            raise
        try:
            return orjson.loads(_TEXT_OR_NAN.sub(_null, plain))
        except orjson.JSONDecodeError:
            raise error from None


def _null(found: re.Match[bytes]) -> bytes:
    return b"null" if found[0] == b"NaN" else found[0]
