"""Owns what keeps a client on one version: the header or cookie that names it; it reads no request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..errors import InvalidInput

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, order=True)
class Sticky:
    """A header or a cookie; requests that carry the same value in it reach the same version."""

    kind: Literal["header", "cookie"]
    name: str

    def __post_init__(self) -> None:
        if self.kind not in ("header", "cookie"):
            raise InvalidInput(f"sticky {self.kind!r} must be 'header' or 'cookie'")
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"sticky {self.kind} {self.name!r} must be 1-64 letters, digits, '_' and '-', and begin with a letter"
            )
        if self.kind == "header":
            object.__setattr__(self, "name", self.name.lower())
            # The edge takes these away before it looks for the one that names the client.
            if self.name.startswith("x-rayloop-") or self.name == "authorization":
                raise InvalidInput(f"sticky header {self.name!r} must not be authorization or begin with x-rayloop-")

    def map_value(self) -> str:
        """Write it as one map value.

        >>> Sticky("header", "X-User-Id").map_value()
        'header:x-user-id'
        """
        return f"{self.kind}:{self.name}"
