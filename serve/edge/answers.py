"""Owns the words of the edge's own answers, all JSON; knows no rule that gives one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

# HAProxy 2.8 words one kind of error itself, in HTML: the 400, 408 and 501 for what it cannot read as HTTP.
ERRORS = {
    400: "the request is not valid HTTP",
    401: "a token is needed",
    403: "this is not allowed",
    404: "nothing is served at this path",
    405: "this method is not allowed here",
    408: "the request took too long to arrive",
    413: "the body is too large",
    425: "the request came too early",
    429: "too many requests",
    500: "the edge failed",
    501: "this is not implemented",
    502: "the model server gave no valid answer",
    503: "no model server is up",
    504: "the model server took too long to answer",
}


def json_body(value: Mapping[str, object]) -> str:
    """Format a body that is always the same."""
    return f"content-type application/json string '{json.dumps(value, separators=(',', ':'))}'"


def named_body(text: str) -> str:
    """Format an error that repeats what the client asked for, escaped for JSON and cut to 64 bytes."""
    return json_body({"error": text}).replace(" string ", " lf-string ", 1)


@dataclass(frozen=True, slots=True)
class Refusals:
    """What is said, behind `http-request return`, where a request goes no further; each protocol has its own words."""

    no_token: str
    bad_token: str
    too_many: str
    unknown_model: str
    unknown_version: str
    failed: str


_ASKED_MODEL = "%[var(txn.model),bytes(0,64),json(utf8s)]"
_ASKED_VERSION = "%[var(txn.pinned),bytes(0,64),json(utf8s)]"
UNKNOWN_MODEL = named_body(f'model "{_ASKED_MODEL}" is not served here')
UNKNOWN_VERSION = named_body(f'version "{_ASKED_VERSION}" of model "{_ASKED_MODEL}" is not served here')

# RFC 6750: what is wrong with a token is named only where one was given.
NO_TOKEN = json_body({"error": ERRORS[401]}) + " hdr www-authenticate 'Bearer realm=\"rayloop\"'"
BAD_TOKEN = (
    json_body({"error": "the token is not known, or was revoked"})
    + ' hdr www-authenticate \'Bearer realm="rayloop", error="invalid_token"\''
)
TOO_MANY = json_body({"error": ERRORS[429]}) + " hdr retry-after 1"

JSON_REFUSALS = Refusals(
    no_token=f"status 401 {NO_TOKEN}",
    bad_token=f"status 401 {BAD_TOKEN}",
    too_many=f"status 429 {TOO_MANY}",
    unknown_model=f"status 404 {UNKNOWN_MODEL}",
    unknown_version=f"status 404 {UNKNOWN_VERSION}",
    failed=f"status 500 {json_body({'error': ERRORS[500]})}",
)
