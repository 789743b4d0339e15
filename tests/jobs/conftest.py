"""A toy problem, as a project, a table and encoded rows; and a workspace with a real SQLite database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rayloop.jobs.data import add_data, remember_project
from rayloop.jobs.training.data import Rows, encode_rows
from rayloop.jobs.training.loop import Place, Plan, Training, build_module
from rayloop.platform.data import Snapshot
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.task import find_task
from rayloop.platform.project import Project
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace

TASK = find_task("tabular")
PLAIN = {"numbers": "standard", "embedding": 8, "dropout": 0.0}


def build_project(kind: str = "classification", name: str = "toy", **sections: Any) -> Project:
    data = {"source": "data.parquet", "target": "y", "key": "id", **sections.pop("data", {})}
    task = {"kind": kind, "params": {**PLAIN, "hidden": [16], **sections.pop("params", {})}}
    train = {"epochs": 4, "batch_size": 16, "learning_rate": 0.02, **sections.pop("train", {})}
    return Project.model_validate({"name": name, "data": data, "task": task, "train": train, **sections})


def build_table(rows: int, kind: str = "classification", classes: int = 2, seed: int = 0) -> pa.Table:
    """Rows of well separated classes, or of a linear target, in two numbers and a text; with some gaps."""
    random = np.random.default_rng(seed)
    number = random.integers(0, classes, rows)
    a = random.normal(4.0 * number, 1.0)
    b = random.normal(-3.0 * number, 1.0)
    target = number if kind == "classification" else 50.0 + 10 * a - 5 * b
    return pa.table(
        {
            "id": np.arange(rows),
            "a": pa.array(a, mask=random.uniform(size=rows) < 0.03),
            "b": b.astype(np.float32),
            "color": np.where(random.uniform(size=rows) < 0.8, np.char.add("c", number.astype(str)), "other"),
            "y": target,
        }
    )


@dataclass(frozen=True)
class Toy:
    """One problem, ready to be trained on."""

    project: Project
    table: pa.Table
    schema: Schema
    rows: Rows

    @classmethod
    def make(cls, rows: int = 200, kind: str = "classification", classes: int = 2, **sections: Any) -> Toy:
        project, table = build_project(kind, **sections), build_table(rows, kind, classes)
        schema = fit_schema(table, project)
        return cls(project, table, schema, encode_rows(TASK, schema, table))

    def training(self, plan: Plan | None = None, place: Place | None = None) -> Training:
        """A new training of it, with seeded weights."""
        plan = plan or Plan.of(self.project)
        return Training(TASK, build_module(TASK, self.schema, plan), plan, place or Place())


@pytest.fixture
def make_toy() -> type[Toy]:
    return Toy


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """As the jobs train on CPU; restored afterwards."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def workspace(own_home: Path) -> Iterator[Workspace]:
    opened = Workspace(Settings.load({}, home=own_home))
    yield opened
    opened.close()


@dataclass(frozen=True)
class Known:
    """A project that a workspace knows, with its one snapshot."""

    project: Project
    snapshot: Snapshot
    code: str
    source: Path


@pytest.fixture
def known(workspace: Workspace, tmp_path: Path) -> Known:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.py").write_text("ANSWER = 42\n")
    source = folder / "data.parquet"
    pq.write_table(build_table(120), source)
    project = build_project(data={"source": str(source)})
    remember_project(workspace, project, folder)
    snapshot = add_data(workspace, project).snapshot
    return Known(project, snapshot, workspace.projects.load(project.name)[1], source)
