"""The tokens by which clients are known: made, listed and revoked here; only their SHA-256 is ever stored."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select, update

from ..errors import Conflict, InvalidInput, NotFound
from ..traffic import Access
from .database import Database
from .ledger import Ledger
from .tables import token as token_table

ROLES = ("inference", "deploy", "admin")
PREFIX = "rl_"
RANDOM_BYTES = 32  # 43 letters of base64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; never the token itself."""

    name: str
    role: str
    sha256: str
    created_s: float
    revoked_s: float | None

    @property
    def is_valid(self) -> bool:
        """Whether it still lets its holder in."""
        return self.revoked_s is None


class Tokens:
    """Reads and changes the tokens; each change is a ledger entry. No row is ever taken out."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self._database = database
        self._ledger = ledger or Ledger(database)

    def create(self, name: str, role: str) -> str:
        """Make a token and return it: `rl_` and 43 letters, which nobody can read again.

        Raises InvalidInput for an unfit name or role, Conflict while a valid token has the name.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"token name {name!r} must be 1-64 letters, digits, '_', '-' and '.', and begin with a letter or digit"
            )
        if role not in ROLES:
            raise InvalidInput(f"role {role!r} must be one of {', '.join(ROLES)}")
        made = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
        digest = sha256(made.encode()).hexdigest()
        with self._database.transaction() as connection:
            if _valid(connection, name) is not None:
                raise Conflict(f"there is a token {name!r} already: revoke it first, or choose another name")
            row = {"name": name, "role": role, "sha256": digest, "created_s": time.time(), "revoked_s": None}
            connection.execute(token_table.insert().values(**row))
            self._ledger.append(connection, "token-create", name, {"role": role})
        return made

    def revoke(self, name: str) -> Token:
        """Let a token's holder in no more. Raises NotFound, or Conflict where it is revoked already."""
        with self._database.transaction() as connection:
            found = _valid(connection, name)
            if found is None:
                was = select(token_table).where(token_table.c.name == name)
                if connection.execute(was).first() is None:
                    raise NotFound(f"there is no token {name!r}: `rayloop token list` shows all")
                raise Conflict(f"token {name!r} is revoked already")
            now_s = time.time()
            rows = (token_table.c.name == name) & token_table.c.revoked_s.is_(None)
            connection.execute(update(token_table).where(rows).values(revoked_s=now_s))
            self._ledger.append(connection, "token-revoke", name, {"role": found.role})
        return Token(found.name, found.role, found.sha256, found.created_s, now_s)

    def tokens(self) -> list[Token]:
        """Every token that ever was, oldest first."""
        with self._database.engine.connect() as connection:
            return [_token(row) for row in connection.execute(select(token_table).order_by(token_table.c.id))]

    def access(self) -> Access:
        """Who may ask now. Open until the first token was made, and never again after it."""
        known = self.tokens()
        grants = {found.sha256: f"{found.role}|{found.name}" for found in known if found.is_valid}
        return Access(is_open=not known, grants=grants)


def _valid(connection: Connection, name: str) -> Token | None:
    query = select(token_table).where(token_table.c.name == name, token_table.c.revoked_s.is_(None))
    row = connection.execute(query).first()
    return None if row is None else _token(row)


def _token(row: Any) -> Token:
    return Token(row.name, row.role, row.sha256, row.created_s, row.revoked_s)
