"""The cluster's units hold every row once, and a run that was killed takes up what was finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from rayloop.jobs.counting import Counted, count_unit, joined, units_of
from rayloop.platform.data import Store
from rayloop.platform.stats import ParquetFiles, Profile, Selection, profile, read_profile

COLUMNS = 6


@pytest.fixture
def files(tmp_path: Path) -> ParquetFiles:
    random = np.random.default_rng(0)
    table = pa.table({f"c{place}": random.normal(size=4_000) for place in range(COLUMNS)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    pq.write_table(table.slice(0, 700), tmp_path / "b.parquet", row_group_size=500)
    return ParquetFiles(fs.LocalFileSystem(), [str(tmp_path / name) for name in ("a.parquet", "b.parquet")])


@pytest.mark.parametrize(("portion_bytes", "unit_bytes"), [(1, 1), (9_000, 20_000), (1 << 30, 1 << 30)])
def test_units_hold_every_portion_once(files: ParquetFiles, portion_bytes: int, unit_bytes: int) -> None:
    selection = Selection(tuple(f"c{place}" for place in range(COLUMNS)))
    portions = files.portions(selection, portion_bytes)
    units = units_of(portions, unit_bytes)
    assert sorted((one.path, one.group, one.columns) for unit in units for one in unit) == sorted(
        (one.path, one.group, one.columns) for one in portions
    )
    assert all(len({one.columns for one in unit}) == 1 for unit in units)
    assert max(sum(one.num_bytes for one in unit) for unit in units) <= max(
        unit_bytes, max(one.num_bytes for one in portions)
    )


def test_units_add_up_and_a_finished_one_is_not_counted_again(files: ParquetFiles, tmp_path: Path) -> None:
    table = pa.concat_tables([pq.read_table(path) for path in files.paths])
    whole = profile(table)
    store, selection = Store(str(tmp_path / "store")), Selection(tuple(whole.columns))
    units = units_of(files.portions(selection, 9_000), 20_000)
    counted = Counted(files.filesystem, selection, whole.binnings, store.root, "drift/units/x")
    parts: dict[tuple[str, ...], list[Profile]] = {}
    for number, unit in enumerate(units):
        parts.setdefault(unit[0].columns, []).append(read_profile(count_unit(counted, unit, number)))
    assert len(parts) > COLUMNS // 2, "row groups of several sizes are cut in several ways"
    columns = joined([Profile.merge_all(some) for some in parts.values()])
    for name, column in whole.columns.items():
        assert columns[name].counts.tolist() == column.counts.tolist()
        assert columns[name].distinct == column.distinct
    kept = store.read("drift/units/x/0.parquet")
    for path in files.paths:
        Path(path).unlink()
    assert count_unit(counted, units[0], 0) == kept
