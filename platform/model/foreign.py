"""A model of any MLflow flavor as a Predictor; loading one runs its code, and may unpickle."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.types import ParamSchema, ParamSpec
from numpy.typing import NDArray

from ..errors import InvalidInput
from .answer import answer_columns, described_answer
from .folder import DESCRIPTION_FILE
from .foreign_schema import ForeignInputs, read_inputs, read_outputs
from .signature import NUMPY_DTYPE, Columns, ColumnSpec, ExampleSource, Signature

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ForeignModel:
    """A loaded model that answers; `folder` is held for models that read their files later."""

    signature: Signature
    example_source: ExampleSource
    pyfunc: mlflow.pyfunc.PyFuncModel
    inputs: ForeignInputs
    rows: Columns
    folder: object = None

    def predict(self, columns: Columns, params: Mapping[str, Any] | None = None) -> Columns:
        """Answer rows. Raises InvalidInput for params that the model doesn't declare, or of another type."""
        checked = checked_params(params, self.pyfunc.metadata.get_params_schema())
        answer = self.pyfunc.predict(_as_mlflow(columns, self.inputs), params=checked)
        return answer_columns(answer, [column.name for column in self.signature.outputs])

    def example(self, rows: int) -> Columns:
        """The rows of the saved example over and over, or rows of zeros and empty texts."""
        return {name: values[np.arange(rows) % len(values)] for name, values in self.rows.items()}


def check_description(folder: Path) -> Model:
    """What MLmodel says; loads nothing. Raises InvalidInput where such a model can't be served."""
    try:
        described = Model.load(str(folder / DESCRIPTION_FILE))
    except Exception as error:  # MLflow lets YAML's and Python's own errors through
        raise InvalidInput(f"{folder / DESCRIPTION_FILE} is damaged: {_said(error)}") from None
    if mlflow.pyfunc.FLAVOR_NAME not in described.flavors:
        flavors = ", ".join(described.flavors) or "none"
        raise InvalidInput(
            f"the model has no flavor {mlflow.pyfunc.FLAVOR_NAME!r}, by which it is asked; it has {flavors}"
        )
    if described.signature is None or described.signature.inputs is None:
        raise InvalidInput(
            "the model has no signature, so nothing says which columns it takes: log it with "
            "`signature=mlflow.models.infer_signature(inputs, outputs)`"
        )
    read_inputs(described.signature.inputs)
    read_outputs(described.signature.outputs)
    return described


def load_foreign(folder: Path, held: object = None) -> ForeignModel:
    """Load the model in a folder, which runs code that is in it; `held` is kept as long as the model.

    Raises InvalidInput where it can't be loaded or served.
    """
    described = check_description(folder)
    inputs = read_inputs(described.signature.inputs)
    try:
        pyfunc = mlflow.pyfunc.load_model(str(folder))
    except Exception as error:  # whatever the code of anyone's raises
        raise InvalidInput(f"the model can't be loaded here: {_said(error)}") from None
    saved = _saved_rows(pyfunc, inputs)
    rows = _ordinary_rows(inputs) if saved is None else saved
    outputs = read_outputs(described.signature.outputs) or _asked_outputs(pyfunc, inputs, rows, saved is not None)
    signature = Signature(inputs.columns, outputs, takes_params=True)
    return ForeignModel(signature, "invented" if saved is None else "saved", pyfunc, inputs, rows, held)


def checked_params(params: Mapping[str, Any] | None, schema: ParamSchema | None) -> dict[str, Any] | None:
    """Params as their schema declares them; MLflow fills in the others. Raises InvalidInput."""
    if not params:
        return None
    declared: dict[str, ParamSpec] = {} if schema is None else {spec.name: spec for spec in schema.params}
    checked: dict[str, Any] = {}
    for name, value in params.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise InvalidInput(f"the model declares no parameter {name!r}; declared: {known}")
        try:
            checked[name] = ParamSpec.validate_param_spec(value, declared[name])
        except MlflowException:
            shape = "" if declared[name].shape is None else "a list of "
            raise InvalidInput(f"parameter {name!r} must be {shape}{declared[name].dtype!r}") from None
    return checked


def _as_mlflow(columns: Columns, inputs: ForeignInputs) -> Any:
    """The rows as MLflow hands them to a model: a frame, one array, or a dictionary of arrays."""
    if not inputs.tensors:
        names = range(len(inputs.keys)) if inputs.is_nameless else inputs.keys
        return pd.DataFrame({key: columns[spec.name] for key, spec in zip(names, inputs.columns, strict=True)})
    arrays = {
        spec.name: columns[column.name].astype(spec.type, copy=False).reshape(spec.shape)
        for spec, column in zip(inputs.tensors, inputs.columns, strict=True)
    }
    return arrays.get(None, arrays)


def _ordinary_rows(inputs: ForeignInputs) -> Columns:
    return {column.name: _column(column, "" if column.datatype == "BYTES" else 0) for column in inputs.columns}


def _column(column: ColumnSpec, value: object) -> NDArray[np.generic]:
    shape = (1,) if column.width == 1 else (1, column.width)
    return np.full(shape, value, dtype=NUMPY_DTYPE[column.datatype])


def _saved_rows(pyfunc: mlflow.pyfunc.PyFuncModel, inputs: ForeignInputs) -> Columns | None:
    """The input example that was saved with the model, as our columns; None where there is none of use."""
    if pyfunc.input_example is None:
        return None
    try:
        return _example_columns(pyfunc.input_example, inputs)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        _logger.warning("the saved input example doesn't fit the signature: %s", _said(error))
        return None


def _example_columns(example: Any, inputs: ForeignInputs) -> Columns:
    """An example of any form that MLflow saves, as our columns; raises what NumPy does where it doesn't fit."""
    if inputs.tensors:
        arrays = example if isinstance(example, Mapping) else {inputs.keys[0]: example}
        parts = [np.asarray(arrays[key]) for key in inputs.keys]
    else:
        frame = _example_frame(example)
        places = range(len(inputs.keys)) if inputs.is_nameless else inputs.keys
        parts = [frame[key].to_numpy() if key in frame else np.full(len(frame), None) for key in places]
    columns: dict[str, NDArray[np.generic]] = {}
    for values, column in zip(parts, inputs.columns, strict=True):
        if not len(values) or (values.dtype.kind == "O" and column.datatype not in {"BYTES", "FP32", "FP64"}):
            raise ValueError(f"column {column.name!r} lacks values")
        shape = (len(values),) if column.width == 1 else (len(values), column.width)
        columns[column.name] = values.astype(NUMPY_DTYPE[column.datatype]).reshape(shape)
    return columns


def _example_frame(example: Any) -> pd.DataFrame:
    """A frame of a saved example, which may be a frame, rows, columns, one row, or one value."""
    if isinstance(example, pd.DataFrame):
        return example
    is_row = isinstance(example, Mapping) and not any(
        isinstance(value, list | np.ndarray) for value in example.values()
    )
    is_many = isinstance(example, list | Mapping | np.ndarray)
    return pd.DataFrame(example if is_many and not is_row else [example])


def _asked_outputs(
    pyfunc: mlflow.pyfunc.PyFuncModel, inputs: ForeignInputs, rows: Columns, is_saved: bool
) -> tuple[ColumnSpec, ...]:
    """Find out what the model answers, where its signature doesn't say. Raises InvalidInput where it doesn't."""
    number = len(next(iter(rows.values())))
    try:
        return described_answer(pyfunc.predict(_as_mlflow(rows, inputs)), number)
    except Exception as error:
        what = "its own example" if is_saved else "a row of zeros and empty texts"
        raise InvalidInput(
            f"the signature doesn't say what the model answers, and it can't be asked: on {what} it fails with "
            f"{_said(error)}; log it with outputs in its signature, or with an input_example"
        ) from None


def _said(error: Exception) -> str:
    """An error of anyone's in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
