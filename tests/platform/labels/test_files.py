"""CSV, Parquet and JSON lines give the same labels; a fault names the file and the row."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.labels import Label
from rayloop.platform.labels.files import read_label_file

SECOND = 1_767_268_800_000_000


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_each_kind_of_file_is_read(tmp_path: Path) -> None:
    expected = [Label("7", 0, "1", 1.0, SECOND), Label("b", 2, "0", 0.0)]
    csv = write(tmp_path, "a.csv", "request_id,row,label,time\n7,0,1,2026-01-01T12:00:00Z\nb,2,0,\n")
    assert read_label_file(csv) == expected
    assert read_label_file(write(tmp_path, "b.csv", "label,request_id,time,row\n1,7,1767268800,\n0,b,,2\n")) == expected
    table = {
        "request_id": ["7", "b"],
        "label": [1, 0],
        "row": pa.array([None, 2], pa.int64()),
        "time": pa.array([datetime(2026, 1, 1, 12, tzinfo=UTC), None]),
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert read_label_file(tmp_path / "a.parquet") == expected
    lines = '{"request_id":"7","label":1,"time":1767268800}\n{"request_id":"b","row":2,"label":0}\n'
    assert read_label_file(write(tmp_path, "a.jsonl", lines)) == expected


def test_text_stays_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "request_id,label\n001,01\n002,yes\n")
    assert [(found.request_id, found.text) for found in read_label_file(path)] == [("001", "01"), ("002", "yes")]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.txt", "", "a label file must end in .csv, .parquet"),
        ("a.csv", "request_id,row\na,1\n", "no column 'label'"),
        ("a.csv", "request_id,label,weight\na,1,2\n", "column 'weight' is not known"),
        ("a.csv", "request_id,label\na,1\nb,\n", "row 2 has label null"),
        ("a.csv", "request_id,label\na,1,3\n", "cannot read .*a.csv"),
        ("a.parquet", "no parquet", "cannot read .*a.parquet"),
        ("a.jsonl", '{"request_id":"a"}', "a.jsonl: line 1 has no label"),
    ],
)
def test_a_fault_names_the_file(tmp_path: Path, name: str, text: str, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault) as error:
        read_label_file(write(tmp_path, name, text))
    assert name in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(NotFound, match=f"no such file: .*{name}"):
            read_label_file(tmp_path / name)
