"""What is captured is one partitioned set for DuckDB, and the snippets of the docs read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from rayloop.platform.model.signature import ColumnSpec, Signature
from rayloop.serve.capture import Capture, Record
from rayloop.serve.protocol.arrival import Arrival

SIGNATURE = Signature(
    (
        ColumnSpec("age", "FP32"),
        ColumnSpec("city", "BYTES"),
        ColumnSpec("visits", "INT32"),
        ColumnSpec("place", "FP64", width=2),
    ),
    (ColumnSpec("prediction", "INT64"), ColumnSpec("probabilities", "FP32", width=2), ColumnSpec("sure", "BOOL")),
)
DOCS = Path(__file__).parents[2] / "docs/serving.md"
NOON_US = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z
DAY_US = 86_400_000_000
TYPES = {
    "request_id": "VARCHAR",
    "row": "INTEGER",
    "time": "TIMESTAMP WITH TIME ZONE",
    "variant": "VARCHAR",
    "propensity": "DOUBLE",
    "bucket": "INTEGER",
    "latency_ms": "DOUBLE",
    "status": "INTEGER",
    "error": "VARCHAR",
    "revision": "BIGINT",
    "input.age": "FLOAT",
    "input.city": "VARCHAR",
    "input.visits": "INTEGER",
    "input.place": "DOUBLE[]",
    "output.prediction": "BIGINT",
    "output.probabilities": "FLOAT[]",
    "output.sure": "BOOLEAN",
    "date": "DATE",
    "endpoint": "VARCHAR",
    "version": "INTEGER",
}


def served(name: str, rows: int, day: int) -> Record:
    city = np.empty(rows, dtype=object)
    city[:] = [f"{name}, row {row}" for row in range(rows)]
    inputs = {
        "age": np.arange(rows, dtype=np.float32),
        "city": city,
        "visits": np.arange(rows, dtype=np.int32),
        "place": np.arange(2.0 * rows).reshape(rows, 2),
    }
    outputs = {
        "prediction": np.arange(rows) % 2,
        "probabilities": np.full((rows, 2), 0.5, np.float32),
        "sure": np.arange(rows) % 2 == 0,
    }
    return Record(
        Arrival(name, NOON_US + day * DAY_US, 0.0, "split", 0.25, 17, 3), 1.5, 200, rows, None, inputs, outputs
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two endpoints, one of them named like a number; versions 7 and 10; two days; one request that failed."""
    root = tmp_path / "with space"
    for endpoint, version, rows in (("digits", 7, 3), ("digits", 10, 4), ("2026", 7, 5)):
        capture = Capture(endpoint, version, SIGNATURE, str(root))
        for day in (0, 1):
            capture.offer(served(f"{endpoint}-{version}-{day}", rows, day))
        if version == 10:
            capture.offer(Record(Arrival("bad", NOON_US, 0.0), 0.5, 400, 1, "a sentence", None, None))
        assert capture.close()
    return root


@pytest.fixture
def ask(folder: Path) -> Iterator[Any]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        types = "{endpoint: VARCHAR, version: INTEGER, date: DATE}"
        files = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true, hive_types = {types})"
        connection.execute(f"CREATE VIEW captured AS SELECT * FROM {files}")
        yield lambda query: connection.execute(query).fetchall()


def test_the_types_are_those_of_the_columns(ask: Any) -> None:
    found = {name: kind for name, kind, *_ in ask("DESCRIBE captured")}
    assert found == TYPES


def test_rows_are_counted_by_partition(ask: Any) -> None:
    counted = ask("SELECT endpoint, version, date, count(*) FROM captured GROUP BY ALL ORDER BY ALL")
    first, second = date(2026, 1, 1), date(2026, 1, 2)
    assert counted == [
        ("2026", 7, first, 5),
        ("2026", 7, second, 5),
        ("digits", 7, first, 3),
        ("digits", 7, second, 3),
        ("digits", 10, first, 5),
        ("digits", 10, second, 4),
    ]


def test_a_filter_by_partition_opens_no_other_file(ask: Any, folder: Path) -> None:
    where = "endpoint = 'digits' AND version = 10 AND date >= DATE '2026-01-02'"
    assert ask(f"SELECT DISTINCT request_id FROM captured WHERE {where}") == [("digits-10-1",)]
    files = sorted(folder.rglob("*.parquet"))
    for path in files[1:]:  # the first one gives the types
        if not ("version=10" in str(path) and "date=2026-01-02" in str(path)):
            path.write_bytes(b"unreadable")
    assert ask(f"SELECT count(*), sum(row) FROM captured WHERE {where}") == [(4, 6)]
    with pytest.raises(duckdb.Error):
        ask(f"SELECT sum(row) FROM captured WHERE {where.replace('10', '7')}")


def test_values_and_nulls_come_as_they_were_served(ask: Any) -> None:
    good = ask(
        'SELECT row, "input.city", "input.place", "output.probabilities", "output.sure", epoch_us(time), propensity '
        "FROM captured WHERE request_id = 'digits-7-1' ORDER BY row"
    )
    assert [values[0] for values in good] == [0, 1, 2]
    assert good[2] == (2, "digits-7-1, row 2", [4.0, 5.0], [0.5, 0.5], True, NOON_US + DAY_US, 0.25)
    bad = ask(
        'SELECT status, error, variant, "input.age", "input.place", "output.prediction" '
        "FROM captured WHERE status >= 400"
    )
    assert bad == [(400, "a sentence", None, None, [None, None], None)]


def run_snippet(word: str, folder: Path) -> dict[str, Any]:
    """Run the block of the docs that holds a word, on this folder and its names; gives what it left behind."""
    (snippet,) = [block for block in DOCS.read_text().split("```") if block.startswith("python") and word in block]
    for written, here in ((".rayloop/store/capture", str(folder)), ("churn", "digits"), ("2026-11-24", "2026-01-02")):
        snippet = snippet.replace(written, here)
    left: dict[str, Any] = {}
    exec(snippet.removeprefix("python"), left)
    return left


def test_the_snippet_for_pandas_reads_it(folder: Path) -> None:
    (folder / "endpoint=digits/version=7").rename(folder / "endpoint=digits/version=3")
    frame = run_snippet("pd.read_parquet", folder)["frame"]
    assert isinstance(frame, pd.DataFrame)
    assert frame["request_id"].tolist() == ["digits-7-1"] * 3
    assert frame["row"].tolist() == [0, 1, 2]


def test_the_snippet_for_duckdb_reads_it(folder: Path) -> None:
    first, second = date(2026, 1, 1), date(2026, 1, 2)
    assert run_snippet("duckdb.sql", folder)["answers"] == [
        (7, first, 3, 1.5),
        (7, second, 3, 1.5),
        (10, first, 4, 1.5),
        (10, second, 4, 1.5),
    ]
