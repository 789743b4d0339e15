"""One MLflow database and store for all tests of the folder: MLflow takes seconds to make one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
import torch
from rayloop.platform.model.artifact import save_artifact
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.tabular import TabularTask
from rayloop.platform.project import Project
from rayloop.platform.settings import Settings
from rayloop.platform.stats import fit_binnings, profile_table
from sqlalchemy.exc import SADeprecationWarning


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = mlflow.get_tracking_uri()
    made = Settings.load({}, home=tmp_path_factory.mktemp("registry with space"))
    with warnings.catch_warnings():
        # MLflow's own table classes, when they are first used under SQLAlchemy 2.1.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", SADeprecationWarning)
        mlflow.MlflowClient(made.tracking_uri).search_experiments()
    yield made
    mlflow.set_tracking_uri(before)


@pytest.fixture
def schema(make_project: Callable[..., Project], make_table: Callable[..., pa.Table]) -> Schema:
    return fit_schema(make_table(), make_project(data={"key": "id"}))


@pytest.fixture
def save(tmp_path: Path, schema: Schema, make_table: Callable[..., pa.Table]) -> Callable[[int], tuple[Path, str]]:
    profile = profile_table(make_table(), fit_binnings(make_table()))

    def save_seeded(seed: int) -> tuple[Path, str]:
        torch.manual_seed(seed)
        params = {"hidden": [4]}
        module = TabularTask().build(schema, params)
        folder = tmp_path / f"artifact-{seed}"
        return folder, save_artifact(folder, module, schema, "tabular", params, profile)

    return save_seeded
