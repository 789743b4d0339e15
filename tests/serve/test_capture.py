"""Capture: what is served is what is written, readable as a set, bounded, counted and drained."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.signature import ColumnSpec, Signature
from rayloop.platform.traffic.capture_schema import PARTITION_SCHEMA, arrow_schema, partition_path
from rayloop.serve import capture as capture_module
from rayloop.serve.capture import Capture, CaptureCounters, Record
from rayloop.serve.protocol.arrival import Arrival, read_arrival

SIGNATURE = Signature(
    (ColumnSpec("age", "FP32"), ColumnSpec("city", "BYTES"), ColumnSpec("place", "FP64", width=2)),
    (ColumnSpec("label", "INT64"), ColumnSpec("probability", "FP32", width=2), ColumnSpec("sure", "BOOL")),
)
NOON_US = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z
HALF_A_DAY_US = 43_200_000_000
DEADLINE_S = 20.0


def served(name: str, rows: int, seed: int = 0, time_us: int = NOON_US) -> Record:
    rng = np.random.default_rng(seed)
    city = np.empty(rows, dtype=object)
    city[:] = [f"{name}-{row}" for row in range(rows)]
    inputs = {"age": rng.random(rows, np.float32), "city": city, "place": rng.random((rows, 2))}
    outputs = {
        "label": rng.integers(0, 9, rows),
        "probability": rng.random((rows, 2), np.float32),
        "sure": rng.random(rows) < 0.5,
    }
    return Record(Arrival(name, time_us, 0.0, "split", 0.25, 17, 3), 1.5, 200, rows, None, inputs, outputs)


def failed(name: str, status: int = 400) -> Record:
    return Record(Arrival(name, NOON_US, 0.0), 0.5, status, 1, "a sentence", None, None)


def eventually(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.005)


def read_all(folder: Path) -> pa.Table:
    return ds.dataset(folder, partitioning=ds.partitioning(PARTITION_SCHEMA, flavor="hive")).to_table()


def test_every_served_row_is_written_as_it_was(tmp_path: Path) -> None:
    records = [served("r0", 3, 0), failed("r1", 500), served("r2", 1, 1), served("r3", 40, 2)]
    capture = Capture("digits", 7, SIGNATURE, str(tmp_path))
    for record in records:
        capture.offer(record)
    assert capture.close()
    assert capture.counters() == CaptureCounters(captured=45, dropped=0, failed=0, queue_depth=0)

    table = read_all(tmp_path).sort_by([("request_id", "ascending"), ("row", "ascending")])
    good = [record for record in records if record.outputs is not None]
    rows = table.filter(pc.equal(table["status"], 200))
    assert rows["request_id"].to_pylist() == [r.arrival.request_id for r in good for _ in range(r.rows)]
    assert rows["row"].to_pylist() == [row for r in good for row in range(r.rows)]
    assert set(rows["propensity"].to_pylist()) == {0.25}
    assert set(rows["bucket"].to_pylist()) == {17}
    assert set(rows["revision"].to_pylist()) == {3}
    for prefix, side in (("input.", "inputs"), ("output.", "outputs")):
        for column in getattr(SIGNATURE, side):
            wanted = np.concatenate([getattr(record, side)[column.name] for record in good])
            assert rows[prefix + column.name].to_pylist() == wanted.tolist()

    bad = table.filter(pc.equal(table["status"], 500)).to_pylist()
    assert len(bad) == 1
    assert bad[0]["request_id"] == "r1"
    assert bad[0]["error"] == "a sentence"
    nulls = [name for name, value in bad[0].items() if value in (None, [None, None])]
    assert {"variant", "propensity", "bucket", "revision", "input.city", "output.probability"} <= set(nulls)
    assert sum(name.startswith(("input.", "output.")) for name in nulls) == 6


def test_the_folder_is_a_hive_set_for_pandas_and_pyarrow(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    for version in (7, 8):
        with_uri = folder.as_uri() if version == 8 else str(folder)
        capture = Capture("digits", version, SIGNATURE, with_uri)
        capture.offer(served("r", 5))
        assert capture.close()
    frame = pd.read_parquet(folder)
    assert sorted(frame["version"].astype(int).unique()) == [7, 8]
    assert set(frame["endpoint"].astype(str)) == {"digits"}
    assert set(frame["date"].astype(str)) == {"2026-01-01"}
    assert str(frame["time"].dt.tz) == "UTC"
    assert len(frame) == 10
    inferred = ds.dataset(folder, partitioning="hive").to_table()
    assert inferred["version"].to_pylist() == [7] * 5 + [8] * 5
    for path in folder.rglob("*.parquet"):
        assert path.parent.relative_to(folder).as_posix().endswith("/date=2026-01-01")
        assert pq.read_schema(path).equals(arrow_schema(SIGNATURE))
        assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"
    one = folder / partition_path("digits", 8, date(2026, 1, 1))
    assert len(list(one.iterdir())) == 1


def test_nan_stays_nan_and_a_failure_stays_null(tmp_path: Path) -> None:
    signature = Signature((ColumnSpec("a", "FP64"),), (ColumnSpec("b", "FP64", width=2),))
    capture = Capture("m", 1, signature, str(tmp_path))
    good = Record(
        Arrival("x", NOON_US, 0.0), 1, 200, 1, None, {"a": np.array([np.nan])}, {"b": np.array([[np.nan, 1]])}
    )
    capture.offer(good)
    capture.offer(failed("y"))
    assert capture.close()
    table = read_all(tmp_path)
    assert table["input.a"].null_count == 1
    assert np.isnan(table["input.a"].to_pylist()[0])
    assert table["output.b"].to_pylist()[1] == [None, None]
    assert np.isnan(table["output.b"].to_pylist()[0][0])


def test_rows_land_on_the_utc_day_of_their_request(tmp_path: Path) -> None:
    capture = Capture("m", 1, SIGNATURE, str(tmp_path))
    capture.offer(served("before", 2, time_us=NOON_US + HALF_A_DAY_US - 1))
    capture.offer(served("after", 3, time_us=NOON_US + HALF_A_DAY_US))
    assert capture.close()
    table = read_all(tmp_path)
    days = dict(zip(table["request_id"].to_pylist(), table["date"].to_pylist(), strict=True))
    assert days == {"before": "2026-01-01", "after": "2026-01-02"}


def test_files_are_written_by_time_and_by_rows(tmp_path: Path) -> None:
    by_time = Capture("t", 1, SIGNATURE, str(tmp_path), flush_seconds=0.01)
    by_time.offer(served("a", 1))
    eventually(lambda: by_time.counters().captured == 1)
    by_time.offer(served("b", 1))
    eventually(lambda: by_time.counters().captured == 2)
    assert by_time.close()
    by_rows = Capture("r", 1, SIGNATURE, str(tmp_path), flush_rows=10, flush_seconds=3_600)
    by_rows.offer(served("a", 4))
    by_rows.offer(served("b", 6))
    eventually(lambda: by_rows.counters().captured == 10)
    assert by_rows.close()
    assert len(list(tmp_path.rglob("*.parquet"))) == 3


def test_flush_writes_what_waits_and_goes_on(tmp_path: Path) -> None:
    capture = Capture("m", 1, SIGNATURE, str(tmp_path), flush_seconds=3_600)
    assert capture.flush()
    for count in (1, 2):
        capture.offer(served(str(count), 2))
        assert capture.flush()
        assert capture.counters().captured == 2 * count
    assert capture.close()
    assert capture.close()


class Gate:
    """A writer that stands still until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self._to_table = capture_module.to_table
        monkeypatch.setattr(capture_module, "to_table", self)

    def __call__(self, *arguments: Any) -> pa.Table:
        self.entered.set()
        assert self.opened.wait(DEADLINE_S)
        return self._to_table(*arguments)


def test_a_full_queue_drops_counts_and_never_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    capture = Capture("m", 1, SIGNATURE, str(tmp_path), flush_rows=1, queue_rows=10)
    capture.offer(served("stuck", 1))
    assert gate.entered.wait(DEADLINE_S)
    for _ in range(1_000):  # would hang here if it waited for the writer
        capture.offer(served("r", 4))
    assert capture.counters() == CaptureCounters(captured=0, dropped=3_992, failed=0, queue_depth=8)
    assert not capture.flush(timeout_s=0.01)
    gate.opened.set()
    assert capture.close()
    capture.offer(served("late", 1))
    assert capture.counters() == CaptureCounters(captured=9, dropped=3_993, failed=0, queue_depth=0)


def test_an_unwritable_folder_counts_as_failed_and_recovers(tmp_path: Path) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("a file stands where the folder should be")
    capture = Capture("m", 1, SIGNATURE, str(blocked))
    capture.offer(served("a", 3))
    assert capture.flush()
    assert capture.counters() == CaptureCounters(captured=0, dropped=0, failed=3, queue_depth=0)
    blocked.unlink()
    capture.offer(served("b", 2))
    assert capture.close()
    assert capture.counters() == CaptureCounters(captured=2, dropped=0, failed=3, queue_depth=0)


@pytest.mark.parametrize("uri", ["nonsense://x", "s3://", "file://host/x"])
def test_a_bad_uri_counts_as_failed(uri: str) -> None:
    capture = Capture("m", 1, SIGNATURE, uri)
    capture.offer(failed("a"))
    assert capture.close()
    assert capture.counters().failed == 1


def test_a_broken_write_leaves_no_part_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(table: pa.Table, where: str, **settings: Any) -> None:
        Path(where).write_bytes(b"PAR1")
        assert Path(where).name.startswith("_")
        raise OSError("no space left")

    monkeypatch.setattr(capture_module.pq, "write_table", write_half)
    capture = Capture("m", 1, SIGNATURE, str(tmp_path))
    capture.offer(served("a", 1))
    assert capture.close()
    assert capture.counters().failed == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_many_threads_lose_and_double_nothing(tmp_path: Path) -> None:
    capture = Capture("m", 1, SIGNATURE, str(tmp_path), flush_rows=50, flush_seconds=0.005)

    def offer(worker: int) -> None:
        for index in range(200):
            capture.offer(served(f"{worker}-{index}", 2))

    threads = [threading.Thread(target=offer, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capture.close()
    assert capture.counters().captured == 1_600
    table = read_all(tmp_path)
    keys = set(zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True))
    assert len(keys) == table.num_rows == 1_600


def test_partition_paths() -> None:
    assert partition_path("digits") == "endpoint=digits"
    assert partition_path("digits", 3) == "endpoint=digits/version=3"
    assert partition_path("a/b=c", 3, date(2026, 5, 1)) == "endpoint=a%2Fb%3Dc/version=3/date=2026-05-01"
    with pytest.raises(InvalidInput):
        partition_path("digits", date=date(2026, 5, 1))
    assert not set(PARTITION_SCHEMA.names) & set(arrow_schema(SIGNATURE).names)


def test_an_arrival_reads_the_edge_and_survives_nonsense() -> None:
    arrival = read_arrival(
        {
            "x-request-id": "r-1",
            "x-rayloop-variant": "split",
            "x-rayloop-propensity": "2500",
            "x-rayloop-bucket": "9999",
            "x-rayloop-revision": "12",
        },
        time_us=5,
    )
    assert (arrival.request_id, arrival.time_us, arrival.variant) == ("r-1", 5, "split")
    assert (arrival.propensity, arrival.bucket, arrival.revision) == (0.25, 9999, 12)
    broken = {"x-rayloop-propensity": "0.5", "x-rayloop-bucket": "9" * 30, "x-rayloop-revision": "²"}
    arrival = read_arrival({"x-request-id": "a\tb", **broken})
    assert len(arrival.request_id) == 36
    assert (arrival.propensity, arrival.bucket, arrival.revision, arrival.variant) == (None, None, None, None)


def test_a_sample_is_a_share_of_requests_and_the_same_on_every_replica(tmp_path: Path) -> None:
    kept = []
    for replica in ("one", "two"):
        capture = Capture("m", 1, SIGNATURE, str(tmp_path / replica), sample=0.25)
        for number in range(2_000):
            capture.offer(failed(f"request-{number}"))
        assert capture.close()
        kept.append(set(ds.dataset(tmp_path / replica, partitioning="hive").to_table()["request_id"].to_pylist()))
        assert capture.counters().dropped == 0
    assert kept[0] == kept[1]
    assert 400 < len(kept[0]) < 600  # 500 expected, 19 a standard deviation
