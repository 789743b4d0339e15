"""Builders that several folders need: a project of a few keys, a small table, a store, a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.data import Store
from rayloop.platform.project import Project
from rayloop.platform.state import Database


def build_project(**sections: Any) -> Project:
    data = {"source": "data.parquet", "target": "label", **sections.pop("data", {})}
    return Project.model_validate({"name": "churn", "data": data, **sections})


def build_table(rows: int = 200, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, rows)
    return pa.table(
        {
            "id": np.arange(rows),
            "age": age,
            "income": pa.array(rng.normal(3e4, 1e4, rows), mask=rng.uniform(size=rows) < 0.1),
            "city": rng.choice(["Bonn", "Kiel", "Ulm"], rows),
            "label": np.where(age + rng.normal(0, 3, rows) > 40, "yes", "no"),
        }
    )


@pytest.fixture
def make_project() -> Callable[..., Project]:
    return build_project


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    return build_table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'rayloop.db'}")
    yield opened
    opened.close()
