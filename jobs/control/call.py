"""Owns one request to the control API as its handlers see it: who asks, what the path names, what the body says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...platform.errors import InvalidInput, RayloopError

# A token's own role, or how the edge let in whoever has none: it is open, or it knows the caller as one of us.
ADMINS = frozenset({"admin", "open", "ours"})
DEPLOYERS = ADMINS | {"deploy"}

Body = TypeVar("Body", bound=BaseModel)


class Forbidden(RayloopError):
    """The caller's role may not do this."""

    status = 403


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the edge knows them; `client` is the name of a token, empty where none was needed."""

    role: str
    client: str = ""

    @property
    def may_deploy(self) -> bool:
        """Whether everything but tokens and forcing is open to them."""
        return self.role in DEPLOYERS

    @property
    def is_admin(self) -> bool:
        """Whether everything is."""
        return self.role in ADMINS

    @property
    def actor(self) -> str:
        """Their name in the ledger.

        >>> Caller("deploy", "ci").actor
        'token:ci'
        """
        return f"token:{self.client}" if self.client else "http"


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose route is found; `names` are the parts of the path that the route leaves open."""

    caller: Caller
    names: Mapping[str, str]
    content: bytes = b""

    def read(self, model: type[Body]) -> Body:
        """Read the body; an empty one is `{}`. Raises InvalidInput that names the first fault."""
        try:
            return model.model_validate_json(self.content or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"body{f' {place!r}' if place else ''}: {first['msg'].lower()}") from None

    @property
    def endpoint(self) -> str:
        """The endpoint that the path names."""
        return self.names["endpoint"]

    @property
    def version(self) -> int:
        """The version that the path names."""
        return int(self.names["version"])


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and what is written as JSON; bytes are written as they are, with a content type of their own."""

    status: int
    value: Any
    headers: Mapping[str, str] = field(default_factory=dict)
