"""The reference profile and the verdict on held-out rows are the same in pieces; and no table is ever whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.evaluate import validate_artifact
from rayloop.jobs.training import artifact as artifact_module
from rayloop.jobs.training import preparation
from rayloop.jobs.training.artifact import reference_profile
from rayloop.jobs.training.data import part_tables
from rayloop.jobs.training.loop import Place, Plan, Training, build_module
from rayloop.jobs.training.preparation import prepare
from rayloop.jobs.training.reader import open_parts, read_parts
from rayloop.jobs.training.stream import StreamFeed
from rayloop.platform.data import Snapshot, create_snapshot, pieces, read_source_files
from rayloop.platform.model.artifact import LoadedModel, save_artifact
from rayloop.platform.model.schema import Schema
from rayloop.platform.project import Project
from rayloop.platform.stats import Profile, fit_binnings, profile_table, write_profile
from rayloop.platform.workspace import Workspace
from torch import Tensor

from .conftest import TASK, build_project, build_table


@pytest.fixture(params=["classification", "regression"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    pq.write_table(build_table(4_000, request.param), tmp_path / "data.parquet", row_group_size=300)
    return build_project(request.param, data={"source": str(tmp_path / "data.parquet")}, train={"input": "stream"})


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 100)


@pytest.fixture
def snapshot(workspace: Workspace, project: Project) -> Snapshot:
    return create_snapshot(workspace.store, project, read_source_files(project.data.source))


def trained(snapshot: Snapshot, project: Project, task: Any = TASK) -> tuple[LoadedModel, Plan]:
    """A model after one epoch, streamed."""
    parts = read_parts(snapshot, project)
    schema, plan = prepare(Plan.of(project), project, parts)
    training = Training(task, build_module(TASK, schema, plan), plan, Place())
    training.run_epoch(StreamFeed(parts["train"], task, schema, plan, Place()))
    return LoadedModel(schema, task, training.module.eval(), schema.signature(), ""), plan


def profile_of(model: LoadedModel, snapshot: Snapshot, project: Project, source: str) -> Profile:
    parts = open_parts(snapshot, project, source)
    return reference_profile(model, [parts["validation"], parts["test"]], seed=0)


def test_a_small_table_has_the_same_profile_from_memory_and_from_a_stream(snapshot: Snapshot, project: Project) -> None:
    model, _ = trained(snapshot, project)
    found = [write_profile(profile_of(model, snapshot, project, source)) for source in ("memory", "stream")]
    assert found[0] == found[1]


def test_a_large_one_is_counted_whole_on_the_bins_of_a_sample(
    small_pieces: None, snapshot: Snapshot, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = trained(snapshot, project)
    monkeypatch.setattr(artifact_module, "SAMPLE_ROWS", 200)
    found = profile_of(model, snapshot, project, "stream")
    assert write_profile(found) == write_profile(profile_of(model, snapshot, project, "stream"))
    tables = part_tables(snapshot, project)
    unseen = pa.concat_tables([tables["validation"], tables["test"]])
    # All of them on these bins, which no longer leave a value outside.
    monitored = artifact_module._monitored(model, unseen)
    whole = profile_table(monitored, found.binnings)
    assert found.rows == unseen.num_rows
    for name, column in found.columns.items():
        if column.binning.is_ordered:
            assert (column.below, column.above) == (0.0, 0.0)
            assert abs(column.counts - whole.columns[name].counts).sum() <= 4, name  # rounding at a few edges
            assert column.mean == pytest.approx(whole.columns[name].mean, rel=1e-6)
        else:
            assert column.counts.tolist() == whole.columns[name].counts.tolist()
    assert found.binnings != fit_binnings(monitored)


class Fresh:
    """A workspace whose registry has no champion yet."""

    @property
    def registry(self) -> Fresh:
        return self

    def alias(self, model: str, alias: str) -> None:
        """The version of an alias: none."""


def test_the_verdict_is_the_same_in_pieces(
    small_pieces: None, snapshot: Snapshot, project: Project, tmp_path: Path
) -> None:
    model, plan = trained(snapshot, project)
    profile = profile_of(model, snapshot, project, "stream")
    save_artifact(tmp_path / "model", model.module, model.schema, "tabular", plan.params, profile)
    whole, read = (
        validate_artifact(Fresh(), project, snapshot, str(tmp_path / "model"), source)  # type: ignore[arg-type]
        for source in ("memory", "stream")
    )
    assert read.rows == whole.rows
    assert dict(read.metrics) == pytest.approx(dict(whole.metrics), rel=1e-5)


class Counting:
    """The tabular task; remembers the most rows that were encoded at once."""

    def __init__(self) -> None:
        self.most = 0

    def build(self, schema: Schema, params: Mapping[str, Any]) -> Any:
        return TASK.build(schema, params)

    def encode(self, schema: Schema, columns: Mapping[str, Any]) -> dict[str, Tensor]:
        encoded = TASK.encode(schema, columns)
        self.most = max(self.most, *(len(tensor) for tensor in encoded.values()))
        return encoded

    def loss(self, module: Any, batch: Any) -> Tensor:
        return TASK.loss(module, batch)

    def predict(self, module: Any, inputs: Any) -> dict[str, Tensor]:
        return TASK.predict(module, inputs)


def test_from_source_to_verdict_no_table_is_whole(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow_pool: pa.MemoryPool
) -> None:
    """Arrow's own count of its memory, and the rows of the largest tensor."""
    rows, columns, group = 400_000, 20, 8_192
    monkeypatch.setattr(pieces, "PIECE_ROWS", group)
    monkeypatch.setattr(preparation, "SAMPLE_ROWS", 10_000)
    monkeypatch.setattr(artifact_module, "SAMPLE_ROWS", 5_000)
    random = np.random.default_rng(0)
    source = tmp_path / "data.parquet"
    with pq.ParquetWriter(source, _table(random, 1, columns).schema) as writer:
        for _ in range(0, rows, 50_000):
            writer.write_table(_table(random, 50_000, columns), row_group_size=group)
    project = build_project(
        data={"source": str(source), "key": None},
        train={"input": "stream", "batch_size": 8_192, "shuffle_rows": 10_000},
    )
    size = rows * columns * 8
    snapshot = create_snapshot(workspace.store, project, read_source_files(str(source)))
    task = Counting()
    model, plan = trained(snapshot, project, task)
    profile = profile_of(model, snapshot, project, "stream")
    save_artifact(tmp_path / "model", model.module, model.schema, "tabular", plan.params, profile)
    verdict = validate_artifact(Fresh(), project, snapshot, str(tmp_path / "model"))  # type: ignore[arg-type]
    peak = arrow_pool.max_memory()
    tables = part_tables(snapshot, project)
    assert verdict.rows == tables["test"].num_rows
    assert task.most < 20_000 < tables["test"].num_rows
    assert peak < size // 2 < size < arrow_pool.max_memory()  # a whole table is seen


def _table(random: np.random.Generator, rows: int, columns: int) -> pa.Table:
    label = random.integers(0, 2, rows)
    return pa.table({f"x{place}": random.normal(label, 1.0) for place in range(columns)} | {"y": label})
