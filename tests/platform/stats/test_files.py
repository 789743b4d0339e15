"""Parquet files are counted row group by row group: every row once, whatever the portions, threads and times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import (
    ParquetFiles,
    Profile,
    Selection,
    TimeRange,
    count_portions,
    files,
    profile,
    profile_files,
    profile_table,
)

LOCAL = fs.LocalFileSystem()
START_S = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
ROWS = 5_000


def make_table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    numbers = random.normal(size=rows)
    numbers[::97] = np.nan
    stamps = (START_S + np.arange(rows) * 60) * 1e6
    return pa.table(
        {
            "x": pa.array(numbers, mask=random.uniform(size=rows) < 0.05),
            "small": random.integers(0, 9, rows).astype(np.int16),
            "name": pa.array(random.choice(["a", "b", "c"], rows)),
            "is_on": pa.array(random.uniform(size=rows) < 0.5),
            "vector": pa.array(list(random.normal(size=(rows, 3))), pa.list_(pa.float64())),
            "at": pa.array(stamps.astype(np.int64), pa.timestamp("us", tz="UTC")),
        }
    )


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    table = make_table()
    made = []
    for number, (start, length) in enumerate(((0, 1_700), (1_700, 3_300))):
        path = tmp_path / f"part-{number}.parquet"
        pq.write_table(table.slice(start, length), path, row_group_size=500)
        made.append(str(path))
    return made


def counts(found: Profile) -> dict[str, list[int]]:
    return {name: column.counts.tolist() for name, column in found.columns.items()}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("portion_bytes", [1, 4_000, 1 << 30])
def test_portions_and_threads_change_no_count(paths: list[str], threads: int, portion_bytes: int) -> None:
    table = make_table()
    whole = profile(table)
    opened, selection = ParquetFiles(LOCAL, paths), Selection(tuple(whole.columns))
    portions = opened.portions(selection, portion_bytes)
    assert len(portions) == {1: 6 * 11, 1 << 30: 11}.get(portion_bytes, len(portions))
    found = count_portions(opened, portions, selection, whole.binnings, threads=threads)
    assert counts(found) == counts(whole)
    assert found.rows == opened.rows == ROWS
    assert found.columns["x"].distinct == whole.columns["x"].distinct
    assert found.columns["x"].m2 == pytest.approx(whole.columns["x"].m2)


def test_a_large_row_group_is_read_in_parts(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PORTION_BYTES", 1_000)
    whole = profile(make_table())
    assert counts(profile_files(paths, whole)) == counts(whole)


def test_a_reference_gets_bins_that_hold_all_of_it(paths: list[str]) -> None:
    found = profile_files(paths, columns=["x", "small", "name"])
    for column in (found.columns["x"], found.columns["small"]):
        slots = column.value_counts
        assert (slots[1], slots[-2]) == (0, 0)
    assert found.columns["name"].other == 0


def test_a_sampled_reference_is_widened_to_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.concatenate([np.random.default_rng(1).normal(size=9_999), [50.0]])
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": values}), path, row_group_size=1_000)
    monkeypatch.setattr(files, "SAMPLE_GROUPS", 2)
    column = profile_files([str(path)]).columns["x"]
    assert column.binning.edges[0] < values.min()
    assert column.binning.edges[-1] == max(50.0, values.max())
    assert (column.value_counts[1], column.value_counts[-2], column.below, column.above) == (0, 0, 0.0, 0.0)
    assert column.count == 10_000
    by_table = profile_table(pa.table({"x": values}), {"x": column.binning}).columns["x"]
    assert by_table.counts.tolist() == column.counts.tolist()


def test_a_window_of_time_takes_its_rows_and_skips_the_other_row_groups(paths: list[str]) -> None:
    table = make_table()
    whole = profile(table.drop_columns(["at"]))
    times = TimeRange("at", START_S + 60 * 1_000, START_S + 60 * 1_400)
    opened = ParquetFiles(LOCAL, paths)
    selection = Selection(tuple(whole.columns), times=times)
    assert {(Path(one.path).name, one.group) for one in opened.portions(selection)} == {("part-0.parquet", 2)}
    found = profile_files(paths, whole, times=times)
    assert counts(found) == counts(profile_table(table.slice(1_000, 400), whole.binnings))
    nothing = profile_files(paths, whole, times=TimeRange("at", 0.0, 1.0))
    assert nothing.rows == 0
    assert counts(nothing) == counts(Profile.empty(whole.binnings))


def test_rows_can_be_chosen_and_columns_made_of_others(paths: list[str]) -> None:
    table = make_table()
    where = pc.field("name") == "b"

    def make(read: pa.Table) -> pa.Table:
        return pa.table({"both": pc.add(read.column("small"), 1), "small": read.column("small").cast(pa.string())})

    binnings = profile(pa.table({"both": [1.0, 5.0], "small": ["0", "1"]})).binnings
    selection = Selection(("both", "small"), where=where, needs=("name",), reads=("small", "x"), transform=make)
    opened = ParquetFiles(LOCAL, paths)
    found = count_portions(opened, opened.portions(selection), selection, binnings)
    chosen = table.filter(where)
    assert found.rows == chosen.num_rows
    assert found.columns["small"].counts[0] == pc.sum(pc.equal(chosen.column("small"), 0)).as_py()
    assert found.columns["both"].max == 9


def test_what_is_missing_or_unfit_is_named(paths: list[str], tmp_path: Path) -> None:
    whole = profile(make_table())
    with pytest.raises(InvalidInput, match="no Parquet file"):
        profile_files([])
    with pytest.raises(InvalidInput, match=r"cannot read .*nowhere.parquet as Parquet"):
        profile_files([str(tmp_path / "nowhere.parquet")])
    pq.write_table(make_table().drop_columns(["x"]), tmp_path / "less.parquet")
    with pytest.raises(InvalidInput, match=r"less.parquet has no column named 'x'"):
        profile_files([str(tmp_path / "less.parquet")], whole)
    pq.write_table(pa.table({"x": ["1"]}), tmp_path / "text.parquet")
    with pytest.raises(InvalidInput, match="column 'x' is string, but its numeric bins need"):
        profile_files([str(tmp_path / "text.parquet")], whole, columns=["x"])
    with pytest.raises(InvalidInput, match="column 'small' is int16, but a window of time needs a timestamp"):
        profile_files(paths, whole, times=TimeRange("small", 0, 1))
