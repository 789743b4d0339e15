"""A source is read whole and in order, or refused in one sentence that names the file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.data import read_source_files
from rayloop.platform.data.source import SourceFile
from rayloop.platform.errors import InvalidInput, NotFound

Write = Callable[[str, pa.Table], Path]
ONE, TWO = pa.table({"x": [1, 2]}), pa.table({"x": [3]})


def read(source: object) -> list[tuple[str, list[int]]]:
    return [(Path(file.name).name, file.table["x"].to_pylist()) for file in read_source_files(str(source))]


def content_of(file: SourceFile) -> bytes:
    return b"".join(file.chunks())


def refusal(source: object) -> str:
    with pytest.raises((InvalidInput, NotFound)) as error:
        list(read_source_files(str(source)))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_bytes_of_a_parquet_file_stay_as_they_are(write: Write) -> None:
    path = write("a.parquet", ONE)
    (file,) = read_source_files(str(path))
    assert (file.name, content_of(file), file.table) == (str(path), path.read_bytes(), ONE)
    assert file.hashed() == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


def test_csv_becomes_parquet_of_the_same_rows(write: Write) -> None:
    path = write("a.csv", ONE)
    first, again = [next(read_source_files(str(path))) for _ in range(2)]
    assert pq.read_table(pa.BufferReader(content_of(first))) == first.table == ONE
    assert content_of(first) == content_of(again)


def test_a_gap_in_csv_is_null_in_text_as_in_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('number,text\n1,a\n,\n3,""\n')
    (file,) = read_source_files(str(path))
    assert file.table.to_pydict() == {"number": [1, None, 3], "text": ["a", None, ""]}


def test_a_folder_is_read_by_name_without_hidden_and_other_files(write: Write) -> None:
    write("b.parquet", TWO)
    folder = write("a.csv", ONE).parent
    for name in (".hidden.parquet", "_SUCCESS.parquet", "notes.txt"):
        (folder / name).write_text("no table")
    assert read(folder) == read(folder.as_uri()) == [("a.csv", [1, 2]), ("b.parquet", [3])]


def test_a_glob_is_read_by_name(write: Write) -> None:
    write("2/b.parquet", TWO)
    folder = write("1/c.parquet", ONE).parent.parent
    assert (
        read(folder / "*" / "?.parquet")
        == read(folder / "**" / "*.parquet")
        == [("c.parquet", [1, 2]), ("b.parquet", [3])]
    )


def test_a_name_with_brackets_is_no_glob_where_the_file_is_there(write: Write) -> None:
    assert read(write("a[1].parquet", ONE)) == [("a[1].parquet", [1, 2])]


def test_missing_sources_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.csv") == f"no such file: {tmp_path}/a.csv"
    assert refusal(tmp_path / "*.csv") == f"no file matches {tmp_path}/*.csv"
    assert refusal(tmp_path) == f"no .parquet or .csv file in {tmp_path}"
    assert refusal(tmp_path.as_uri()) == f"no .parquet or .csv file in {tmp_path.as_uri()}"
    assert refusal(f"file://{tmp_path}/a.csv") == f"no such file: file://{tmp_path}/a.csv"
    assert refusal("nowhere://a.csv").startswith("cannot read nowhere://a.csv: ")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.parquet", b"id,label\n1,2\n", "it is not a Parquet file"),
        ("a.parquet", b"", "it is not a Parquet file"),
        ("a.parquet", b"PAR1 and then nothing PAR1", "it is not a Parquet file"),
        ("a.txt", b"id\n1\n", "a source file must end in .parquet or .csv"),
        ("a.csv", b"", "Empty CSV file"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "CSV parse error: Expected 2 columns, got 3: 1,2,3"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path) == f"cannot read {path}: {reason}"


def test_a_folder_that_is_called_like_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "part.parquet").mkdir()
    assert refusal(tmp_path) == f"cannot read {tmp_path}/part.parquet: is a directory"


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_file_is_named(write: Write) -> None:
    path = write("a.parquet", ONE)
    path.chmod(0)
    assert refusal(path) == f"cannot read {path}: permission denied"


def test_a_cut_off_parquet_file_is_refused(write: Write) -> None:
    path = write("a.parquet", pa.table({"x": list(range(1000))}))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == f"cannot read {path}: it is not a Parquet file"
