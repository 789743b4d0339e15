"""Labels are only added: the last record of a row counts, and the same body again changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.platform.data import Store
from rayloop.platform.labels import Label, LabelLog, label_schema
from rayloop.platform.state import Database, LabelBatches

NOON_S = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()


def label(request_id: str, text: str = "1", row: int = 0) -> Label:
    return Label(request_id, row, text, float(text))


@pytest.fixture
def log(store: Store, database: Database) -> LabelLog:
    return LabelLog(store, LabelBatches(database))


def files(store: Store) -> list[str]:
    found = store.filesystem.get_file_info(fs.FileSelector(store.path("labels"), recursive=True))
    return sorted(entry.path.removeprefix(store.path("") + "/") for entry in found if entry.is_file)


def test_a_body_is_one_parquet_file_by_the_day_of_its_arrival(log: LabelLog, store: Store) -> None:
    added = log.add("digits", [label("a"), Label("b", 3, "yes", None, 5_000_000)], "token:ci", NOON_S)
    assert added.to_dict() == {"records": 2, "stored": 2, "batches": [1]}
    assert files(store) == ["labels/endpoint=digits/date=2026-05-01/000000000001.parquet"]
    table = pq.read_table(store.path(files(store)[0]), partitioning=None)
    assert table.schema == label_schema.SCHEMA
    noon, fifth = datetime.fromtimestamp(NOON_S, UTC), datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == [
        ("a", 0, "1", 1.0, None, noon, 1_000_000, "token:ci"),
        ("b", 3, "yes", None, fifth, noon, 1_000_001, "token:ci"),
    ]


def test_the_same_body_again_changes_nothing(log: LabelLog, store: Store) -> None:
    body = [label("a"), label("b", "0")]
    first = log.add("digits", body, "ci", NOON_S)
    again = log.add("digits", body, "ci", NOON_S + 86_400)
    assert (again.records, again.stored, again.batches) == (2, 0, first.batches)
    log.add("digits", [label("c")], "ci", NOON_S)  # of other rows
    assert log.add("digits", body, "ci", NOON_S).stored == 0
    assert len(files(store)) == 2
    assert log.add("other", body, "ci", NOON_S).stored == 2


def test_corrections_are_kept_and_can_be_taken_back(log: LabelLog) -> None:
    log.add("digits", [label("a", "1"), label("b", "1")], "ci", NOON_S)
    log.add("digits", [label("a", "0")], "boss", NOON_S + 1)
    assert log.add("digits", [label("a", "1"), label("b", "1")], "ci", NOON_S + 2).stored == 2
    found = log.history("digits", "a")
    assert [(row["label"], row["by"], row["sequence"]) for row in found] == [
        ("1", "ci", 1_000_000),
        ("0", "boss", 2_000_000),
        ("1", "ci", 3_000_000),
    ]
    assert len(log.history("digits", "b")) == 2
    assert log.history("digits", "a", row=1) == []
    assert log.history("other", "a") == []


def test_a_body_whose_file_was_not_written_is_written_when_it_comes_again(log: LabelLog, store: Store) -> None:
    body = [label("a")]
    log.add("digits", body, "ci", NOON_S)
    (path,) = files(store)
    Path(store.path(path)).unlink()  # as if the process had died between the number and the file
    assert log.history("digits", "a") == []
    assert log.add("digits", body, "ci", NOON_S + 9).stored == 1
    assert files(store) == [path]
    assert [row["sequence"] for row in log.history("digits", "a")] == [1_000_000]


def test_a_long_file_is_several_batches(log: LabelLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_schema, "MOST_IN_BATCH", 2)
    body = [label(f"r{place}") for place in range(5)]
    assert log.add("digits", body, "ci", NOON_S).batches == (1, 2, 3)
    assert [table.num_rows for table in log.records("digits", NOON_S)] == [2, 2, 1]
    assert log.num_records("digits", NOON_S) == 5
    assert log.add("digits", body, "ci", NOON_S).stored == 0


def test_records_from_a_moment_on_leave_out_what_came_long_before(log: LabelLog) -> None:
    log.add("digits", [label("a")], "ci", NOON_S)
    log.add("digits", [label("b")], "ci", NOON_S + 7_200)
    assert [table.num_rows for table in log.records("digits", NOON_S + 7_000)] == [1]
    assert log.num_records("digits", NOON_S + 1_000) == 2  # clocks may differ
