"""Which schemas of MLflow become columns, in which order and type, and what each of the others is told."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.foreign_schema import output_type, read_inputs, read_outputs
from rayloop.platform.model.signature import ColumnSpec


def columns(*specs: ColSpec) -> Schema:
    return Schema(list(specs))


def tensor(shape: tuple[int, ...], dtype: object = "float32", name: str | None = None) -> TensorSpec:
    return TensorSpec(np.dtype(dtype), shape, name)


def test_columns_keep_their_order_and_type() -> None:
    kinds = ("string", "double", "float", "long", "integer", "boolean")
    found = read_inputs(columns(*(ColSpec(DataType[kind], kind, required=kind != "double") for kind in kinds)))
    assert found.columns == (
        ColumnSpec("string", "BYTES"),
        ColumnSpec("double", "FP64"),
        ColumnSpec("float", "FP32"),
        ColumnSpec("long", "INT64"),
        ColumnSpec("integer", "INT32"),
        ColumnSpec("boolean", "BOOL"),
    )
    assert (found.keys, found.tensors, found.is_nameless) == (kinds, (), False)


def test_columns_without_names_get_some() -> None:
    assert read_inputs(columns(ColSpec("string"))).columns == (ColumnSpec("x", "BYTES"),)
    two = read_inputs(columns(ColSpec("double"), ColSpec("long")))
    assert [column.name for column in two.columns] == ["0", "1"]
    assert two.keys == (None, None)
    numbered = read_inputs(columns(ColSpec("double", 7), ColSpec("double", 3)))
    assert ([column.name for column in numbered.columns], numbered.keys) == (["7", "3"], (7, 3))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "bool"])
def test_a_tensor_is_one_column(dtype: str) -> None:
    datatype = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}[dtype]
    assert read_inputs(Schema([tensor((-1, 8), dtype)])).columns == (ColumnSpec("x", datatype, 8),)
    assert read_inputs(Schema([tensor((-1,), dtype, "t")])).columns == (ColumnSpec("t", datatype),)
    assert read_inputs(Schema([tensor((-1, 1), dtype, "t")])).columns == (ColumnSpec("t", datatype),)


def test_text_may_be_a_tensor_of_one_axis() -> None:
    assert read_inputs(Schema([tensor((-1,), "str")])).columns == (ColumnSpec("x", "BYTES"),)
    assert read_inputs(Schema([tensor((-1,), "O")])).columns == (ColumnSpec("x", "BYTES"),)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (
            columns(ColSpec("datetime", "at")),
            "input 'at' has the MLflow type datetime; a served column is one of boole",
        ),
        (columns(ColSpec("binary", "raw")), "input 'raw' has the MLflow type binary"),
        (columns(ColSpec(Array(DataType.double), "v")), r"input 'v' has the MLflow type Array\(double\)"),
        (columns(ColSpec(Object([Property("a", "long")]), "o")), "input 'o' has the MLflow type {a: long"),
        (columns(ColSpec("double", 0), ColSpec("double", "0")), "names '0' more than once"),
        (Schema([tensor((-1, 28, 28))]), r"input 'x' is a tensor of shape \[-1, 28, 28\]; a served one is \[-1\] or"),
        (Schema([tensor((-1, -1))]), r"shape \[-1, -1\]"),
        (Schema([tensor((3, 4))]), r"shape \[3, 4\]"),
        (
            Schema([tensor((-1, 4), "uint8", "p")]),
            "input 'p' is a tensor of uint8; a served tensor is one of bool, int32",
        ),
        (Schema([tensor((-1, 4), "float16")]), "input 'x' is a tensor of float16"),
        (Schema([tensor((-1, 2), "str")]), r"a tensor of <U0; .*or \[-1\] of text"),
    ],
)
def test_what_no_column_can_hold_is_refused(schema: Schema, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        read_inputs(schema)


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (None, None),
        (columns(ColSpec("long")), (ColumnSpec("prediction", "INT64"),)),
        (columns(ColSpec("string", "who")), (ColumnSpec("who", "BYTES"),)),
        (columns(ColSpec("long"), ColSpec("double")), (("prediction_0", "INT64"), ("prediction_1", "FP64"))),
        (columns(ColSpec("long", "n"), ColSpec(Array(DataType.double), "v")), None),
        (Schema([tensor((-1, 3), "float64")]), (ColumnSpec("prediction", "FP64", 3),)),
        (Schema([tensor((-1,), "O")]), (ColumnSpec("prediction", "BYTES"),)),
        (Schema([tensor((-1,), "uint8", "u")]), (ColumnSpec("u", "INT32"),)),
    ],
)
def test_outputs_come_from_the_schema_or_must_be_asked_for(schema: Schema | None, found: object) -> None:
    if isinstance(found, tuple):
        found = tuple(part if isinstance(part, ColumnSpec) else ColumnSpec(*part) for part in found)
    assert read_outputs(schema) == found


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (columns(ColSpec("datetime", "at")), "output 'at' has the MLflow type datetime"),
        (Schema([tensor((-1, 2, 2))]), r"output 'prediction' is a tensor of shape \[-1, 2, 2\]"),
        (Schema([tensor((-1,), "complex128")]), "output 'prediction' is a tensor of complex128"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(schema: Schema, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        read_outputs(schema)


def test_every_numpy_type_has_the_narrowest_of_ours() -> None:
    expected = {
        "BOOL": ["?"],
        "INT32": ["i1", "u2", "i4"],
        "INT64": ["u4", "i8", "u8"],
        "FP32": ["f2", "f4"],
        "FP64": ["f8"],
        "BYTES": ["U5", "O"],
    }
    assert {ours: {output_type(np.dtype(name)) for name in names} for ours, names in expected.items()} == {
        ours: {ours} for ours in expected
    }
    assert [output_type(np.dtype(name)) for name in ("c8", "M8[s]", "V4")] == [None, None, None]
