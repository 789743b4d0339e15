"""What a schema can't say, told to Schemathesis: it sends no body that only such a rule makes wrong."""

from __future__ import annotations

from typing import Any

import schemathesis

LENGTH = "Inference-Header-Content-Length"


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """All columns have as many rows."""
    columns = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(columns, dict):
        return True
    return len({len(values) for values in columns.values() if isinstance(values, list)}) < 2


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """The header 0 makes one raw tensor of any body: what follows is then no JSON that could break a schema."""
    if case.media_type != "application/octet-stream" and (case.headers or {}).get(LENGTH, "").strip("0") == "":
        (case.headers or {}).pop(LENGTH, None)
