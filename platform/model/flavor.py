"""The MLflow flavor `rayloop`: logs an artifact as an MLflow model, and answers as a pyfunc."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import add_to_model
from mlflow.types import ColSpec, DataType
from mlflow.types import Schema as MlflowSchema
from mlflow.types.schema import Array as MlflowArray
from numpy.typing import NDArray

from .signature import NUMPY_DTYPE, ColumnSpec, Signature

if TYPE_CHECKING:
    from .artifact import LoadedModel

FLAVOR = "rayloop"
DATA_FOLDER = "data"

_MLFLOW_TYPES = {
    "BOOL": DataType.boolean,
    "INT32": DataType.integer,
    "INT64": DataType.long,
    "FP32": DataType.float,
    "FP64": DataType.double,
    "BYTES": DataType.string,
}


def save_model(path: str, mlflow_model: Model, folder: str, columns: Signature, sha256: str) -> None:
    """Called by `mlflow.models.Model.log`: copy the artifact in `folder` and describe it in MLmodel."""
    target = Path(path)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, target / DATA_FOLDER)
    inputs = [ColSpec(_mlflow_type(spec), spec.name) for spec in columns.inputs]
    mlflow_model.signature = ModelSignature(inputs=MlflowSchema(inputs))
    mlflow_model.add_flavor(FLAVOR, rayloop_version=version("rayloop"), data=DATA_FOLDER, sha256=sha256)
    add_to_model(mlflow_model, loader_module=__name__, data=DATA_FOLDER)
    mlflow_model.save(str(target / "MLmodel"))


def _mlflow_type(spec: ColumnSpec) -> DataType | MlflowArray:
    plain = _MLFLOW_TYPES[spec.datatype]
    return plain if spec.width == 1 else MlflowArray(plain)


class PyfuncModel:
    """What `mlflow.pyfunc.load_model` returns inside: predictions for data frames."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One row of answers for each row; class probabilities are a list in one column."""
        columns = {spec.name: _column(frame[spec.name], spec) for spec in self._model.signature.inputs}
        given = self._model.predict(columns)
        plain = {name: values if values.ndim == 1 else list(values) for name, values in given.items()}
        return pd.DataFrame({name: np.asarray(v) if isinstance(v, np.ndarray) else v for name, v in plain.items()})


def _column(values: pd.Series[Any], spec: ColumnSpec) -> NDArray[np.generic]:
    """A list in each row makes it (rows, width)."""
    array: NDArray[np.generic] = values.to_numpy()
    if spec.width == 1:
        return array
    rows = [np.asarray(row, dtype=NUMPY_DTYPE[spec.datatype]).reshape(spec.width) for row in array]
    return np.stack(rows) if rows else np.zeros((0, spec.width), dtype=NUMPY_DTYPE[spec.datatype])


def _load_pyfunc(path: str) -> PyfuncModel:
    from .artifact import load_artifact  # torch, which whoever only logs or registers does not need

    return PyfuncModel(load_artifact(path))
