"""Owns who may ask an endpoint, as the edge is told of it; it makes no token, and knows no SQL and no proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Access:
    """Whether anybody may ask; and else the `role|name` of each valid token by the token's SHA-256."""

    is_open: bool
    grants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def map_entries(self) -> dict[str, str]:
        """Write the edge's map. An empty one lets nobody in: that the edge is open must be said.

        >>> Access(is_open=True).map_entries()
        {'open': 'yes'}
        """
        return ({"open": "yes"} if self.is_open else {}) | dict(self.grants)


OPEN = Access(is_open=True)
