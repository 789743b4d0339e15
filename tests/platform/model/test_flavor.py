"""Any tool that reads MLflow models gets the artifact's own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from rayloop.platform.model import flavor
from rayloop.platform.model.artifact import load_artifact, save_artifact
from rayloop.platform.model.schema import Schema, table_columns
from rayloop.platform.stats import fit_binnings, profile_table
from torch import nn

PARAMS = {"hidden": [8], "dropout": 0.5, "embedding": 4}


@pytest.fixture
def saved(
    tmp_path: Path, schema: Schema, make_module: Callable[..., nn.Module], make_table: Callable[..., pa.Table]
) -> Path:
    table = make_table()
    profile = profile_table(table, fit_binnings(table))
    sha256 = save_artifact(tmp_path / "artifact", make_module(schema), schema, "tabular", PARAMS, profile)
    flavor.save_model(str(tmp_path / "model"), Model(), str(tmp_path / "artifact"), schema.signature(), sha256)
    return tmp_path / "model"


def test_a_pyfunc_answers_like_the_artifact(saved: Path, make_table: Callable[..., pa.Table]) -> None:
    table = make_table(40, seed=5).select(["age", "income", "city"])
    frame = table.to_pandas()
    frame.loc[3, "city"] = None
    found = mlflow.pyfunc.load_model(str(saved)).predict(frame)
    columns = table_columns(table, table.column_names)
    columns["city"][3] = None
    expected = load_artifact(str(saved / "data")).predict(columns)
    assert isinstance(found, pd.DataFrame)
    assert found["prediction"].tolist() == expected["prediction"].tolist()
    assert np.array_equal(np.stack(found["probabilities"]), expected["probabilities"])


def test_the_model_describes_itself(saved: Path) -> None:
    described = Model.load(str(saved))
    assert described.flavors["rayloop"]["sha256"] == load_artifact(str(saved / "data")).sha256
    assert described.flavors["python_function"]["loader_module"] == "rayloop.platform.model.flavor"
    assert [(spec.name, spec.type.name) for spec in described.signature.inputs] == [
        ("age", "double"),
        ("income", "double"),
        ("city", "string"),
    ]


def test_a_missing_column_is_refused(saved: Path) -> None:
    with pytest.raises(MlflowException, match=r"missing inputs \['city'\]"):
        mlflow.pyfunc.load_model(str(saved)).predict(pd.DataFrame({"age": [1.0], "income": [2.0]}))


def test_no_file_of_it_is_a_pickle(saved: Path) -> None:
    names = sorted(path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file())
    assert names == ["MLmodel", "data/model.json", "data/model.safetensors", "data/profile.parquet"]


@pytest.mark.parametrize("name", ["pixels", "labels", "forecast-quantiles", "words"])
def test_wide_columns_are_lists_in_a_frame(make_problem: Callable[[str], Any], name: str, tmp_path: Path) -> None:
    problem = make_problem(name)
    columns, project = problem.columns(), problem.project
    table = problem.table.select([])
    profile = profile_table(table, fit_binnings(table))
    folder, module = tmp_path / "artifact", problem.build().eval()
    sha256 = save_artifact(folder, module, problem.schema, project.task.use, project.task.params, profile)
    flavor.save_model(str(tmp_path / "model"), Model(), str(folder), problem.schema.signature(), sha256)
    frame = pd.DataFrame({key: list(values) if values.ndim == 2 else values for key, values in columns.items()})
    frame = frame.astype({"flag": bool} if "flag" in frame else {})
    found = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(frame)
    for key, expected in load_artifact(str(folder)).predict(columns).items():
        assert np.array_equal(np.stack(found[key].to_list()), expected)
