"""Pieces of a Parquet file have its rows in order, and a size that neither rows nor row groups change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.data import pieces as module
from rayloop.platform.data import read_pieces

TABLE = pa.table({"x": np.arange(1000), "text": [f"row {row}" for row in range(1000)]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=300)
    return tmp_path / "a.parquet"


@pytest.mark.parametrize("is_local", [True, False])
def test_pieces_are_the_rows_in_order(path: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", 128)
    with path.open("rb") as opened:
        pieces = list(read_pieces(opened, is_local=is_local))
    assert pa.concat_tables(pieces) == TABLE
    assert [piece.num_rows for piece in pieces] == [128, 128, 44] * 3 + [100]


def test_some_row_groups_and_columns_are_read_alone(path: Path) -> None:
    with path.open("rb") as opened:
        found = pa.concat_tables(read_pieces(opened, is_local=True, groups=[3, 1], columns=["text"]))
    wanted = pa.concat_tables([TABLE.slice(900), TABLE.slice(300, 300)]).select(["text"])
    assert found == wanted


def test_columns_come_as_asked_and_bring_none_along_that_begins_like_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "a.b": [2], "c": [3]}), tmp_path / "a.parquet")
    with (tmp_path / "a.parquet").open("rb") as opened:
        (piece,) = read_pieces(opened, is_local=True, columns=["c", "a"])
    assert piece.to_pydict() == {"c": [3], "a": [1]}


def test_wide_rows_come_in_smaller_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    with path.open("rb") as opened:
        narrow = [piece.num_rows for piece in read_pieces(opened, is_local=True, columns=["x"])]
        opened.seek(0)
        wide = [piece.num_rows for piece in read_pieces(opened, is_local=True)]
    assert 1 < max(wide) < max(narrow) < 300


def test_a_row_group_of_any_size_takes_little_memory(tmp_path: Path, arrow_pool: pa.MemoryPool) -> None:
    """It is never there as a whole, neither compressed nor decoded."""
    rows, columns = 1_500_000, 8
    random = np.random.default_rng(0)
    whole = pa.table({f"x{place}": random.normal(size=rows) for place in range(columns)})
    size = whole.nbytes
    pq.write_table(whole, tmp_path / "a.parquet", row_group_size=rows)
    written = arrow_pool.max_memory()
    with (tmp_path / "a.parquet").open("rb") as opened:
        assert sum(piece.num_rows for piece in read_pieces(opened, is_local=True)) == rows
    peak = arrow_pool.max_memory()
    assert pq.read_table(tmp_path / "a.parquet").num_rows == rows
    assert max(written, peak) < size // 2 < size < arrow_pool.max_memory()  # a whole table is seen
