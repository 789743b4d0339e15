"""Turns the schemas of an MLflow model into our columns; it loads no model, and refuses what no column can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array

from ..errors import InvalidInput
from .signature import ColumnSpec, Datatype

_COLUMN_TYPE: Mapping[DataType, Datatype] = {
    DataType.boolean: "BOOL",
    DataType.integer: "INT32",
    DataType.long: "INT64",
    DataType.float: "FP32",
    DataType.double: "FP64",
    DataType.string: "BYTES",
}
# Inputs are handed over in exactly these; a narrower type would have to lose values on the way.
_TENSOR_TYPE: Mapping[str, Datatype] = {
    "bool": "BOOL",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
    "float64": "FP64",
}
_TEXT_KINDS = "UO"
LONE_INPUT, LONE_OUTPUT = "x", "prediction"


@dataclass(frozen=True, slots=True)
class ForeignInputs:
    """What a model takes: our columns, and beside each the name that MLflow has for it.

    `tensors` are empty for a model that takes a data frame.
    """

    columns: tuple[ColumnSpec, ...]
    keys: tuple[str | int | None, ...]
    tensors: tuple[TensorSpec, ...]

    @property
    def is_nameless(self) -> bool:
        """True where columns are told apart by their places alone."""
        return all(key is None for key in self.keys)


def read_inputs(schema: Schema) -> ForeignInputs:
    """Our columns for an input schema, in its order. Raises InvalidInput for a type or shape without a column."""
    specs = list(schema.inputs)
    keys = tuple(spec.name for spec in specs)
    names = _names(keys, LONE_INPUT, "")
    if schema.is_tensor_spec():
        columns = [_tensor_input(name, spec) for name, spec in zip(names, specs, strict=True)]
        return ForeignInputs(tuple(columns), keys, tuple(specs))
    columns = [ColumnSpec(name, _column_type(name, spec)) for name, spec in zip(names, specs, strict=True)]
    return ForeignInputs(tuple(columns), keys, ())


def read_outputs(schema: Schema | None) -> tuple[ColumnSpec, ...] | None:
    """Our columns for an output schema; None where it doesn't say enough, and an answer must.

    Raises InvalidInput for a type or shape without a column.
    """
    if schema is None:
        return None
    specs = list(schema.inputs)
    names = _names([spec.name for spec in specs], LONE_OUTPUT, f"{LONE_OUTPUT}_")
    if schema.is_tensor_spec():
        return tuple(_tensor_output(name, spec) for name, spec in zip(names, specs, strict=True))
    if any(isinstance(spec.type, Array) and isinstance(spec.type.dtype, DataType) for spec in specs):
        return None  # a list in each row, and the schema is silent about its length
    return tuple(ColumnSpec(name, _column_type(name, spec, "output")) for name, spec in zip(names, specs, strict=True))


def output_type(dtype: np.dtype[np.generic]) -> Datatype | None:
    """The narrowest of our types that holds every value of a NumPy type; None where there is none."""
    if dtype.kind in "iu":
        return "INT32" if np.can_cast(dtype, np.int32) else "INT64"
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return "FP32" if dtype.itemsize <= 4 else "FP64"
    return "BOOL" if dtype.kind == "b" else "BYTES" if dtype.kind in _TEXT_KINDS else None


def _names(keys: Sequence[str | int | None], lone: str, prefix: str) -> list[str]:
    """Names for columns; MLflow may have none for them, or whole numbers."""
    if len(keys) == 1 and keys[0] is None:
        return [lone]
    names = [f"{prefix}{place}" if key is None else str(key) for place, key in enumerate(keys)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"the model's signature names {twice[0]!r} more than once; each column comes once")
    return names


def _column_type(name: str, spec: ColSpec, what: str = "input") -> Datatype:
    found = _COLUMN_TYPE.get(spec.type) if isinstance(spec.type, DataType) else None
    if found is None:
        known = ", ".join(kind.name for kind in _COLUMN_TYPE)
        raise InvalidInput(f"{what} {name!r} has the MLflow type {spec.type!r}; a served column is one of {known}")
    return found


def _tensor_input(name: str, spec: TensorSpec) -> ColumnSpec:
    width = _width(name, spec, "input")
    datatype = _TENSOR_TYPE.get(spec.type.name)
    if datatype is None and spec.type.kind in _TEXT_KINDS and len(spec.shape) == 1:
        datatype = "BYTES"
    if datatype is None:
        known = ", ".join(_TENSOR_TYPE)
        raise InvalidInput(
            f"input {name!r} is a tensor of {spec.type}; a served tensor is one of {known}, or [-1] of text"
        )
    return ColumnSpec(name, datatype, width)


def _tensor_output(name: str, spec: TensorSpec) -> ColumnSpec:
    datatype = output_type(spec.type)
    if datatype is None:
        raise InvalidInput(f"output {name!r} is a tensor of {spec.type}; an answer is numbers, booleans or text")
    return ColumnSpec(name, datatype, _width(name, spec, "output"))


def _width(name: str, spec: TensorSpec, what: str) -> int:
    shape = tuple(spec.shape)
    if len(shape) in {1, 2} and shape[0] == -1 and all(size > 0 for size in shape[1:]):
        return int(shape[1]) if len(shape) == 2 else 1
    raise InvalidInput(f"{what} {name!r} is a tensor of shape {list(shape)}; a served one is [-1] or [-1, width]")
