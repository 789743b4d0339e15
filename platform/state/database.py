"""Opens the SQL database, brings it to the newest migration, and hands out transactions."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from ..errors import InvalidInput, Unavailable

HEAD = "0006"  # newest file in migrations/versions; a test holds the two together
BUSY_TIMEOUT_S = 45.0


class Database:
    """One SQL database; safe to share between threads and processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._migrate()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction: on SQLite it holds the one write lock from the start, so reads in it are current."""
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "sqlite":
                # A deferred BEGIN takes the lock at the first write, and fails if another wrote since our first read.
                connection.exec_driver_sql("begin immediate")
            yield connection

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    def _migrate(self) -> None:
        try:
            found = self._revision()
            if found == HEAD:
                return
            if found is not None and found > HEAD:
                raise Unavailable(
                    f"the database {_shown(self.url)} is at migration {found}, newer than {HEAD}: update rayloop"
                )
            from alembic import command  # a third of a second to import, and needed once in a database's life
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            with self.transaction() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise Unavailable(f"cannot open the database {_shown(self.url)}: {_cause(error)}") from None

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.execute(text("select version_num from alembic_version")).scalar()
            return None if found is None else str(found)


def database_exists(url: str) -> bool:
    """Whether there is a database to open; one on a server counts as there."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return True  # opening it says what is wrong
    if parsed.get_backend_name() != "sqlite":
        return True
    return bool(parsed.database) and Path(str(parsed.database)).exists()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed, pool_pre_ping=True)
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None})
    except ImportError as error:
        raise InvalidInput(
            f"RAYLOOP_DATABASE_URL={_shown(url)}: its driver is not installed: no module {error.name!r}"
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError):  # ValueError: a port that is no number
        raise InvalidInput(
            f"RAYLOOP_DATABASE_URL={_shown(url)}: it must be an SQLAlchemy URL, "
            "such as sqlite:////folder/rayloop.db or postgresql+psycopg://user@host/rayloop"
        ) from None
    except OSError as error:
        raise Unavailable(f"cannot open the database {_shown(url)}: {error.strerror}") from None
    event.listen(engine, "connect", _use_write_ahead_log)
    return engine


def _use_write_ahead_log(connection: Any, _record: Any) -> None:
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("pragma journal_mode=wal").close()
            break
        except sqlite3.OperationalError as error:
            # SQLite's own timeout does not cover two processes that turn a new file to WAL at the same moment.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
    connection.execute("pragma foreign_keys=on").close()


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return re.sub(r":[^:@/]*@", ":***@", url)


def _cause(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
