"""A window holds what lies in it to the microsecond, over midnight, and counts requests, not rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.platform.traffic.capture_schema import partition_path
from rayloop.platform.traffic.captured import Window, capture_files, captured_versions, count_answers, read_answers

MIDNIGHT_S = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
DAY_S = 86_400
LOCAL = fs.LocalFileSystem()


def write(
    root: Path,
    name: str,
    rows: Sequence[tuple[float, int, int]],
    version: int = 3,
    endpoint: str = "digits",
    variant: str | None = "split",
) -> Path:
    """A file of (time in seconds, status, row in its request); its day is that of the first row."""
    moments = [round(time_s * 1_000_000) for time_s, _, _ in rows]
    day = datetime.fromtimestamp(rows[0][0], UTC).date()
    path = root / "capture" / partition_path(endpoint, version, day) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "time": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "status": pa.array([status for _, status, _ in rows], pa.int32()),
            "row": pa.array([row for _, _, row in rows], pa.int32()),
            "variant": pa.array([variant] * len(rows), pa.string()),
            "request_id": [f"{name}-{place}" for place in range(len(rows))],
            "latency_ms": [1.5] * len(rows),
            "output.prediction": pa.array(range(len(rows)), pa.int64()),
        }
    )
    pq.write_table(table, path)
    return path


def names(root: Path, window: Window, endpoint: str = "digits", version: int = 3) -> list[str]:
    return [path.rpartition("/")[2] for path in capture_files(LOCAL, str(root), endpoint, version, window)]


def count(root: Path, since_s: float, until_s: float) -> tuple[int, int]:
    return count_answers(LOCAL, str(root), "digits", 3, Window(since_s, until_s))


@pytest.mark.parametrize(
    ("since_s", "until_s", "days"),
    [
        (MIDNIGHT_S, MIDNIGHT_S + 1, ["02"]),
        (MIDNIGHT_S - 1, MIDNIGHT_S, ["01"]),
        (MIDNIGHT_S - 1e-6, MIDNIGHT_S + 1e-3, ["01", "02"]),
        (MIDNIGHT_S, MIDNIGHT_S + DAY_S, ["02"]),
        (MIDNIGHT_S + 5, MIDNIGHT_S + 2 * DAY_S + 5, ["02", "03", "04"]),
        (MIDNIGHT_S, MIDNIGHT_S, []),
        (MIDNIGHT_S + 5, MIDNIGHT_S + 4, ["02"]),
    ],
)
def test_the_days_of_a_window(since_s: float, until_s: float, days: list[str]) -> None:
    assert [day.strftime("%d") for day in Window(since_s, until_s).days()] == days


@pytest.mark.parametrize("offset_us", [0, 1, 3, 7, 123_457, 999_999])
def test_the_start_belongs_to_a_window_and_the_end_does_not(offset_us: int) -> None:
    since_us = round(MIDNIGHT_S * 1_000_000) + offset_us
    until_us = since_us + 250
    moments = [since_us - 1, since_us, until_us - 1, until_us]
    times = pa.chunked_array([pa.array(moments, pa.timestamp("us", tz="UTC"))])
    assert Window(since_us / 1e6, until_us / 1e6).holds(times).to_pylist() == [False, True, True, False]


def test_files_are_those_of_the_version_and_the_days_by_name(tmp_path: Path) -> None:
    for day in range(-1, 3):
        for name in ("b.parquet", "a.parquet"):
            write(tmp_path, f"{day}{name}", [(MIDNIGHT_S + day * DAY_S, 200, 0)])
    write(tmp_path, "other-version.parquet", [(MIDNIGHT_S, 200, 0)], version=4)
    write(tmp_path, "other-endpoint.parquet", [(MIDNIGHT_S, 200, 0)], endpoint="letters")
    assert names(tmp_path, Window(MIDNIGHT_S, MIDNIGHT_S + DAY_S + 1)) == [
        "0a.parquet",
        "0b.parquet",
        "1a.parquet",
        "1b.parquet",
    ]
    assert names(tmp_path, Window(MIDNIGHT_S, MIDNIGHT_S + 1), "letters") == ["other-endpoint.parquet"]


def test_hidden_and_unfinished_files_are_skipped(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.parquet", [(MIDNIGHT_S, 200, 0)]).parent
    for name in (".b.parquet", "_c.parquet", "d.parquet.tmp", "e.txt"):
        (folder / name).write_bytes(b"half a file")
    assert names(tmp_path, Window(MIDNIGHT_S, MIDNIGHT_S + 1)) == ["a.parquet"]
    assert count(tmp_path, MIDNIGHT_S, MIDNIGHT_S + 1) == (1, 0)


def test_what_was_never_captured_is_nothing(tmp_path: Path) -> None:
    assert names(tmp_path, Window(MIDNIGHT_S, MIDNIGHT_S + DAY_S)) == []
    assert count(tmp_path, MIDNIGHT_S, MIDNIGHT_S + DAY_S) == (0, 0)


def test_an_odd_name_of_an_endpoint_is_found(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [(MIDNIGHT_S, 200, 0)], endpoint="a b/c")
    assert names(tmp_path, Window(MIDNIGHT_S, MIDNIGHT_S + 1), "a b/c") == ["a.parquet"]


def test_requests_are_counted_once_and_errors_from_500(tmp_path: Path) -> None:
    statuses = [200, 400, 404, 499, 500, 503, 200]
    write(tmp_path, "a.parquet", [(MIDNIGHT_S + place, status, 0) for place, status in enumerate(statuses)])
    write(tmp_path, "b.parquet", [(MIDNIGHT_S + 1, 200, row) for row in range(40)])
    assert count(tmp_path, MIDNIGHT_S, MIDNIGHT_S + 60) == (8, 2)


def test_only_rows_of_the_window_count(tmp_path: Path) -> None:
    """A file holds the day on which it was begun; a window takes from it what is its own."""
    write(tmp_path, "a.parquet", [(MIDNIGHT_S - 2 + place, 500, 0) for place in range(2)])
    write(tmp_path, "b.parquet", [(MIDNIGHT_S + place, 500 if place == 1 else 200, 0) for place in range(5)])
    assert count(tmp_path, MIDNIGHT_S - 1, MIDNIGHT_S + 2) == (3, 2)
    assert count(tmp_path, MIDNIGHT_S + 2, MIDNIGHT_S + 60) == (3, 0)
    assert count(tmp_path, MIDNIGHT_S + 10, MIDNIGHT_S + 60) == (0, 0)


def test_a_window_of_another_file_system_is_read_alike(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [(MIDNIGHT_S, 500, 0)])
    below = fs.SubTreeFileSystem(str(tmp_path.parent), LOCAL)
    assert count_answers(below, tmp_path.name, "digits", 3, Window(MIDNIGHT_S, MIDNIGHT_S + 1)) == (1, 1)


def test_a_shadow_s_answers_are_not_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [(MIDNIGHT_S, 200, 0), (MIDNIGHT_S, 500, 0)], variant="pinned")
    write(tmp_path, "b.parquet", [(MIDNIGHT_S, 500, 0)] * 7, variant="shadow")
    write(tmp_path, "c.parquet", [(MIDNIGHT_S, 200, 0)], variant=None)
    assert count(tmp_path, MIDNIGHT_S, MIDNIGHT_S + 1) == (3, 1)


def test_versions_that_captured_are_found(tmp_path: Path) -> None:
    assert captured_versions(LOCAL, str(tmp_path), "digits") == []
    for version in (10, 2):
        write(tmp_path, "a.parquet", [(MIDNIGHT_S, 200, 0)], version=version)
    write(tmp_path, "a.parquet", [(MIDNIGHT_S, 200, 0)], endpoint="letters")
    (tmp_path / "capture/endpoint=digits/notes").mkdir()
    assert captured_versions(LOCAL, str(tmp_path), "digits") == [2, 10]


def test_answers_are_read_for_clients_or_for_a_shadow(tmp_path: Path) -> None:
    rows = [(MIDNIGHT_S + place, 200, 0) for place in range(4)]
    write(tmp_path, "a.parquet", rows)
    write(tmp_path, "b.parquet", rows, variant="shadow")
    write(tmp_path, "c.parquet", rows, version=4, variant=None)
    window = Window(MIDNIGHT_S + 1, MIDNIGHT_S + 3)

    def read(versions: Sequence[int], *, shadow: bool) -> pa.Table:
        return read_answers(LOCAL, str(tmp_path), "digits", versions, window, shadow=shadow)

    live, copies = read([3, 4], shadow=False), read([3, 4], shadow=True)
    assert live.column("request_id").to_pylist() == ["a.parquet-1", "a.parquet-2", "c.parquet-1", "c.parquet-2"]
    assert copies.column("request_id").to_pylist() == ["b.parquet-1", "b.parquet-2"]
    assert copies.column("output.prediction").to_pylist() == [1, 2]
    assert "variant" not in copies.column_names
    assert read([7], shadow=True).num_rows == 0


def test_outputs_of_another_type_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [(MIDNIGHT_S, 200, 0)])
    other = write(tmp_path, "b.parquet", [(MIDNIGHT_S, 200, 0)], version=4)
    table = pq.read_table(other, partitioning=None)
    place = table.column_names.index("output.prediction")
    changed = table.set_column(place, "output.prediction", pa.array(["yes"])).append_column("output.more", [[1.0]])
    pq.write_table(changed, other)
    window = Window(MIDNIGHT_S, MIDNIGHT_S + 1)
    read = read_answers(LOCAL, str(tmp_path), "digits", [3, 4], window, shadow=False)
    assert read.column_names == ["request_id", "row", "time", "latency_ms", "status", "version"]
    assert read.column("version").to_pylist() == [3, 4]
