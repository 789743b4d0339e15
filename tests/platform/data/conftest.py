"""Writes source files for snapshots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, pa.Table], Path]:
    def write_file(name: str, table: pa.Table) -> Path:
        path = tmp_path / "rows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (csv.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)
        return path

    return write_file
