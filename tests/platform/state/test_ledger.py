"""The chain verifies, and every way to forge it is found at its place."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from rayloop.platform.state import Database, Entry, Ledger, acting_as
from rayloop.platform.state.ledger import GENESIS
from rayloop.platform.state.tables import ledger as table
from sqlalchemy import Connection, delete, update

NUM_ENTRIES = 6


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    for place in range(1, NUM_ENTRIES + 1):
        ledger.record(
            "split", f"churn/{place}", {"weight": place / 7, "text": "é\u2028", "nested": {"b": [1, None], "a": True}}
        )
    return ledger


def test_the_chain_verifies_and_reads_back(filled: Ledger) -> None:
    entries = filled.entries()
    assert filled.first_fault() is None
    assert [entry.seq for entry in entries] == list(range(1, NUM_ENTRIES + 1))
    assert [entry.previous for entry in entries] == [GENESIS, *(entry.digest for entry in entries[:-1])]
    assert entries[2].detail == {"weight": 3 / 7, "text": "é\u2028", "nested": {"b": [1, None], "a": True}}
    assert len({entry.digest for entry in entries}) == NUM_ENTRIES


def test_an_empty_chain_is_whole(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.first_fault() is None


def test_an_entry_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    made = ledger.record("deploy", "churn/1", {1: (2, 3)})  # type: ignore[dict-item]
    assert ledger.entries() == [made]
    assert made.detail == {"1": [2, 3]}
    assert made.digest == made.computed_digest() != Entry(**{**vars_of(made), "actor": "eve"}).computed_digest()


def test_who_asked_is_named_in_that_thread_alone(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLOOP_ACTOR", "steward")
    with acting_as("token:ci"):
        other = threading.Thread(target=ledger.record, args=("split", "other", {}))
        other.start()
        other.join()
        ledger.record("split", "asked", {})
    ledger.record("split", "after", {})
    assert [(entry.subject, entry.actor) for entry in ledger.entries()] == [
        ("other", "steward"),
        ("asked", "token:ci"),
        ("after", "steward"),
    ]


def vars_of(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


@pytest.mark.parametrize("place", range(1, NUM_ENTRIES + 1))
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("detail", {"weight": 0}),
        ("actor", "eve"),
        ("action", "alias"),
        ("subject", "fraud"),
        ("at_s", 0.0),
        ("previous", "f" * 64),
        ("digest", "f" * 64),
    ],
)
def test_a_changed_field_is_found(filled: Ledger, database: Database, place: int, field: str, value: object) -> None:
    with database.transaction() as connection:
        connection.execute(update(table).where(table.c.seq == place).values({field: value}))
    assert filled.first_fault() == place


def forge(connection: Connection, place: int) -> None:
    """Change an entry and make its own digest fit: the next one tells."""
    row = connection.execute(table.select().where(table.c.seq == place)).one()
    forged = Entry(**{**row._mapping, "actor": "eve"})
    values = {"actor": "eve", "digest": forged.computed_digest()}
    connection.execute(update(table).where(table.c.seq == place).values(**values))


def drop(connection: Connection, place: int) -> None:
    connection.execute(delete(table).where(table.c.seq == place))


def drop_and_close_up(connection: Connection, place: int) -> None:
    drop(connection, place)
    for later in range(place + 1, NUM_ENTRIES + 1):
        connection.execute(update(table).where(table.c.seq == later).values(seq=later - 1))


def swap(connection: Connection, place: int) -> None:
    for old, new in ((place, 99), (place + 1, place), (99, place + 1)):
        connection.execute(update(table).where(table.c.seq == old).values(seq=new))


@pytest.mark.parametrize("place", [1, 3, NUM_ENTRIES - 1])
@pytest.mark.parametrize(("change", "later"), [(forge, 1), (drop, 0), (drop_and_close_up, 0), (swap, 0)])
def test_forgery_deletion_and_reordering_are_found(
    filled: Ledger, database: Database, place: int, change: Callable[[Connection, int], None], later: int
) -> None:
    with database.transaction() as connection:
        change(connection, place)
    assert filled.first_fault() == place + later


def test_an_entry_is_gone_with_the_change_that_it_records(filled: Ledger, database: Database) -> None:
    with suppress(RuntimeError), database.transaction() as connection:
        filled.append(connection, "split", "churn", {})
        raise RuntimeError
    assert len(filled.entries()) == NUM_ENTRIES
    assert filled.record("split", "churn", {}).seq == NUM_ENTRIES + 1
    assert filled.first_fault() is None


def test_concurrent_appends_keep_the_chain_whole(ledger: Ledger, database: Database) -> None:
    barrier = threading.Barrier(4)

    def append(actor: int) -> None:
        own = Ledger(Database(database.url)) if actor % 2 else ledger
        barrier.wait()
        for place in range(25):
            own.record("count", f"{actor}/{place}", {})
        if actor % 2:
            own._database.close()

    threads = [threading.Thread(target=append, args=(actor,)) for actor in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.first_fault() is None
    assert sorted(entry.subject for entry in ledger.entries()) == sorted(
        f"{a}/{p}" for a in range(4) for p in range(25)
    )


def test_the_actor_is_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.delenv("RAYLOOP_ACTOR", raising=False)
    assert ledger.record("a", "b", {}).actor == getpass.getuser()
    monkeypatch.setattr(getpass, "getuser", fail)
    assert ledger.record("a", "b", {}).actor.startswith("uid ")
    monkeypatch.setenv("RAYLOOP_ACTOR", "alice")
    assert ledger.record("a", "b", {}).actor == "alice"
