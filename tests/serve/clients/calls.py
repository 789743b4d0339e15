"""Runs the calls of one client library in that library's own environment, and prints what came back as JSON.

It may import nothing but the standard library: it runs where rayloop is not installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


def tell(calls: Mapping[str, Callable[[], Any]]) -> None:
    """Make the calls in their order; one that raises is told by its exception, and the next is made."""
    told: dict[str, Any] = {}
    for name, call in calls.items():
        try:
            told[name] = call()
        except Exception as error:
            told[name] = {"raised": type(error).__name__, "says": str(error)}
    print(json.dumps(told, default=str))
