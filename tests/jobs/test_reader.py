"""A part gives the same rows whether it is in memory or read in pieces, and a reader never holds more than a piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.data import add_data
from rayloop.jobs.training import reader as reader_module
from rayloop.jobs.training.data import part_tables
from rayloop.jobs.training.loop import Plan, Training, build_module, measure
from rayloop.jobs.training.reader import PartReader, open_parts, read_parts
from rayloop.jobs.training.stream import StreamFeed
from rayloop.platform.data import PARTS, Snapshot, Store, create_snapshot, pieces, read_source_files
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.schema import fit_schema
from rayloop.platform.project import Project
from rayloop.platform.workspace import Workspace

from .conftest import TASK, build_project, build_table, encode_rows
from .test_loop import Place

NAMES = ["id", "a", "b", "color", "y"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two files of several row groups."""
    folder = tmp_path / "data"
    folder.mkdir()
    for place in range(2):
        pq.write_table(build_table(300, seed=place), folder / f"{place}.parquet", row_group_size=70)
    return build_project(data={"source": str(folder), "key": None, "ignore": ["id"]}, train={"input": "stream"})


@pytest.fixture
def snapshot(workspace: Workspace, project: Project) -> Snapshot:
    return add_data(workspace, project).snapshot


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 30)
    return 30


@pytest.mark.parametrize("part", PARTS)
def test_both_kinds_give_the_same_rows(snapshot: Snapshot, project: Project, part: Any, small_pieces: int) -> None:
    whole = part_tables(snapshot, project)[part]
    for source in ("memory", "stream"):
        found = open_parts(snapshot, project, source)[part]
        assert (found.count, list(found.names)) == (whole.num_rows, NAMES)
        read = list(found.tables(["y", "a"]))
        assert pa.concat_tables(read) == whole.select(["y", "a"])
        assert found.first(["color"], 25) == whole.select(["color"]).slice(0, 25)
        assert found.first(["color"], 10_000) == whole.select(["color"])
        assert found.sample(NAMES, 7, 10_000) == whole
        assert source == "memory" or (len(read) > 10 and max(table.num_rows for table in read) <= small_pieces)


def test_a_sample_is_drawn_by_the_seed_from_some_row_groups_and_keeps_their_order(
    snapshot: Snapshot, project: Project, small_pieces: int
) -> None:
    train = read_parts(snapshot, project)["train"]
    order = {row: place for place, row in enumerate(_rows(pa.concat_tables(train.tables(NAMES))))}
    samples = [_rows(train.sample(NAMES, seed, 100)) for seed in range(6)]
    assert _rows(train.sample(NAMES, 0, 100)) == samples[0]
    assert len({tuple(sample) for sample in samples}) > 3
    for sample in samples:
        places = [order[row] for row in sample]
        assert len(places) == 100
        assert places == sorted(set(places))


def test_a_sample_ends_at_its_bytes(snapshot: Snapshot, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SAMPLE_BYTES", 1)
    train = read_parts(snapshot, project)["train"]
    assert 0 < train.sample(NAMES, 0, 10_000).num_rows <= 70


def test_row_groups_without_rows_of_the_part_are_not_read(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(build_table(400), tmp_path / "a.parquet", row_group_size=50)
    data = {"source": str(tmp_path / "a.parquet"), "key": None, "time": "id", "split": {"by": "time"}}
    project = build_project(data=data)
    snapshot = add_data(workspace, project).snapshot
    asked: list[Sequence[int]] = []

    def read(*arguments: Any, groups: Sequence[int], **options: Any) -> Any:
        asked.append(groups)
        return pieces.read_pieces(*arguments, groups=groups, **options)

    monkeypatch.setattr(reader_module, "read_pieces", read)
    test = read_parts(snapshot, project)["test"]
    assert sum(table.num_rows for table in test.tables(["a"])) == test.count == 60
    assert asked == [[6], [7]]


def test_a_column_that_is_not_there_is_named(snapshot: Snapshot, project: Project) -> None:
    for source in ("memory", "stream"):
        with pytest.raises(InvalidInput, match="the snapshot has no column 'nowhere'"):
            list(open_parts(snapshot, project, source)["test"].tables(["a", "nowhere"]))


def test_a_forecast_has_its_windows_whatever_the_input(workspace: Workspace, tmp_path: Path) -> None:
    table = pa.table({"at": np.arange(300), "price": np.ones(300), "sold": np.arange(300.0)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=50)
    data = {"source": str(tmp_path / "a.parquet"), "key": None, "target": "sold", "time": "at", "split": {"by": "time"}}
    task = {"kind": "regression", "use": "forecast", "params": {"window": 4}}
    project = Project.model_validate({"name": "sales", "data": data, "task": task})
    snapshot = add_data(workspace, project).snapshot
    assert list(open_parts(snapshot, project, "stream")["test"].names) == ["at", "past.price", "past.sold", "sold"]
    with pytest.raises(ValueError, match=r"'stream' reads rows in pieces, but task\.use 'forecast' cuts windows"):
        Project.model_validate({"name": "sales", "data": data, "task": task, "train": {"input": "stream"}})


def test_a_stream_from_s3_gives_the_losses_of_one_from_the_disk(
    s3: str, tmp_path: Path, project: Project, small_pieces: int
) -> None:
    found = []
    for store in (Store(str(tmp_path / "local")), Store(s3)):
        snapshot = create_snapshot(store, project, read_source_files(project.data.source))
        parts = read_parts(snapshot, project)
        schema = fit_schema(parts["train"].sample(NAMES, 0, 100), project)
        plan = Plan.of(project, {"batch_size": 24})
        training = Training(TASK, build_module(TASK, schema, plan), plan, Place())
        losses = [training.run_epoch(StreamFeed(parts["train"], TASK, schema, plan, Place())) for _ in range(2)]
        rows = (encode_rows(TASK, schema, table) for table in parts["test"].tables(NAMES))
        found.append((snapshot.digest, schema, losses, measure(TASK, training.module, rows)))
    assert found[0] == found[1]
    assert found[0][2][1] < found[0][2][0]


def test_a_reader_keeps_a_byte_for_each_row(snapshot: Snapshot, project: Project) -> None:
    reader = PartReader(snapshot, project, "train")
    assert sum(group.is_in_part.nbytes for group in reader.groups) == 600
    assert [len(group.places) for group in reader.groups] == [group.count for group in reader.groups]


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.select(["id", "b"]).to_pylist()]
