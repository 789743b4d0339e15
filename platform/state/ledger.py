"""The hash-chained audit log: append and verify, never change."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, select, text

from .database import Database
from .tables import ledger

GENESIS = "0" * 64

_asker: ContextVar[str] = ContextVar("asker", default="")


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Name who is behind the entries that this thread or task makes meanwhile; else it is who runs the process."""
    before = _asker.set(actor)
    try:
        yield
    finally:
        _asker.reset(before)


def current_actor() -> str:
    """Who is behind what this thread or task does: who asked for it, or who runs the process."""
    return _asker.get() or os.environ.get("RAYLOOP_ACTOR") or _user()


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done; `digest` covers every other field and the digest before it."""

    seq: int
    at_s: float
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    previous: str
    digest: str = ""

    def computed_digest(self) -> str:
        """SHA-256 over the entry's canonical JSON, its own digest left out."""
        fields = asdict(self)
        del fields["digest"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


class Ledger:
    """Appends to the log inside the transaction of the change that it records, so neither is there alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, connection: Connection, action: str, subject: str, detail: Mapping[str, Any]) -> Entry:
        """Record one action at the end of the chain."""
        if connection.dialect.name == "postgresql":  # SQLite's write transactions exclude each other anyway
            connection.execute(text("lock table ledger in exclusive mode"))
        last = connection.execute(select(ledger).order_by(ledger.c.seq.desc()).limit(1)).first()
        entry = Entry(
            seq=1 if last is None else last.seq + 1,
            at_s=round(time.time(), 6),
            actor=current_actor(),
            action=action,
            subject=subject,
            detail=json.loads(json.dumps(detail)),
            previous=GENESIS if last is None else last.digest,
        )
        entry = Entry(**{**asdict(entry), "digest": entry.computed_digest()})
        connection.execute(ledger.insert().values(**asdict(entry)))
        return entry

    def record(self, action: str, subject: str, detail: Mapping[str, Any]) -> Entry:
        """Record an action that changes no table of ours."""
        with self._database.transaction() as connection:
            return self.append(connection, action, subject, detail)

    def newest(self) -> int:
        """Place of the newest entry, 0 for none: cheap enough to be asked fifty times a second."""
        with self._database.engine.connect() as connection:
            return int(connection.exec_driver_sql("select coalesce(max(seq), 0) from ledger").scalar_one())

    def entries(self) -> list[Entry]:
        """The whole log, oldest first."""
        with self._database.engine.connect() as connection:
            rows = connection.execute(select(ledger).order_by(ledger.c.seq))
            return [Entry(**row._mapping) for row in rows]

    def first_fault(self) -> int | None:
        """Place of the first entry that was changed, moved or removed; None where the chain is whole.

        A chain cut off at its end looks whole: keep the last digest elsewhere to see that.
        """
        previous = GENESIS
        for place, entry in enumerate(self.entries(), start=1):
            sound = entry.seq == place and entry.previous == previous and entry.digest == entry.computed_digest()
            if not sound:
                return place
            previous = entry.digest
        return None


def _user() -> str:
    """Who runs this process; a container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
