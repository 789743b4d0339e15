"""A database is at its newest migration however many open it at once, or refused in one sentence."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from rayloop.platform import state
from rayloop.platform.errors import InvalidInput, RayloopError, Unavailable
from rayloop.platform.state import Database
from rayloop.platform.state import database as module
from rayloop.platform.state.database import HEAD
from rayloop.platform.state.tables import metadata, project
from rayloop.platform.traffic import Split, Variant
from sqlalchemy import inspect, text


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def revision(database: Database) -> str:
    with database.engine.connect() as connection:
        return str(connection.execute(text("select version_num from alembic_version")).scalar_one())


def test_public_names_exist() -> None:
    assert [name for name in state.__all__ if not hasattr(state, name)] == []


def test_head_is_the_newest_migration() -> None:
    assert scripts().get_heads() == [HEAD]


def test_the_migrations_make_the_tables(database: Database) -> None:
    assert revision(database) == HEAD
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_the_migrations_can_be_undone(database: Database) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_splits_from_before_there_were_shadows_have_none(database: Database) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
        columns = "(name, revision, split, updated_s) values ('churn', 4, '{\"1\": 10000}', 0.0)"
        connection.execute(text(f"insert into endpoint {columns}".replace(":", "\\:")))
        command.upgrade(config, "head")
    assert state.Endpoints(database).splits() == [Split("churn", (Variant(1, 10_000),), 4)]


def test_an_old_database_is_opened_without_migrating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/a/b/rayloop.db"
    Database(url).close()
    monkeypatch.setitem(sys.modules, "alembic", None)
    Database(url).close()


def test_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rayloop.db"
    code = (
        "import sys; from rayloop.platform.state import Database, Ledger;"
        "print('ready', flush=True); sys.stdin.readline();"
        f"database = Database({url!r}); print(Ledger(database).record('open', 'a', {{}}).seq)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, cwd=tmp_path, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    assert [process.stdout.readline() for process in running] == ["ready\n", "ready\n"]
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert sorted(int(out) for out, _ in outputs) == [1, 2]


def test_threads_open_a_new_file_at_once(tmp_path: Path) -> None:
    url, found = f"sqlite:///{tmp_path}/rayloop.db", []
    barrier = threading.Barrier(4)

    def open_it() -> None:
        barrier.wait()
        try:
            database = Database(url)
            found.append(revision(database))
            database.close()
        except BaseException as error:
            found.append(repr(error))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [HEAD] * 4


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    row = {"name": "a", "config": {}, "code": "c", "updated_s": 0.0}
    with suppress(RuntimeError), database.transaction() as connection:
        connection.execute(project.insert().values(**row))
        raise RuntimeError
    with database.engine.connect() as connection:
        assert connection.execute(project.select()).all() == []


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rayloop.db"
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    database.close()
    with pytest.raises(Unavailable, match=f"is at migration 9999, newer than {HEAD}: update rayloop"):
        Database(url)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("nonsense", "it must be an SQLAlchemy URL, such as sqlite:////folder/rayloop.db"),
        ("", "it must be an SQLAlchemy URL"),
        ("oracle9://host/db", "it must be an SQLAlchemy URL"),
        ("postgresql://user@host:port/db", "it must be an SQLAlchemy URL"),
        ("mysql://user@host/db", "its driver is not installed: no module 'MySQLdb'"),
    ],
)
def test_a_bad_url_is_one_sentence(url: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Database(url)
    assert str(error.value).startswith(f"RAYLOOP_DATABASE_URL={url}: {rule}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://user:secret@host/db", "postgresql://user:secret@host:port/db"])
def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Database(url)
    assert "secret" not in str(error.value)
    assert "user:***@host" in str(error.value)


def test_an_unusable_file_is_one_sentence(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("this is not a database\n" * 50)
    for path, reason in [
        (plain, "file is not a database"),
        (tmp_path, "unable to open database file"),
        (plain / "rayloop.db", "File exists"),
    ]:
        with pytest.raises(RayloopError) as error:
            Database(f"sqlite:///{path}")
        assert str(error.value) == f"cannot open the database sqlite:///{path}: {reason}"
