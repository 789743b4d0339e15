"""Owns the JSON Schemas of bodies, of any model or of one model's columns; it knows no path and no status.

A schema says what is let in as far as one can: that columns have equally many rows, or that data fits its shape,
stands in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...platform.model.signature import NUMPY_DTYPE, ColumnSpec, Signature
from .tensor import WIRE_DTYPE

Schema = Mapping[str, Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
ROWS: Schema = {"type": "integer", "minimum": 1}
MAYBE_OBJECT: Schema = {"type": ["object", "null"]}
DATA = {"type": "array", "minItems": 1, "description": "Row-major, nested or flat, as many values as the shape says."}
DATATYPE = {"type": "string", "enum": list(WIRE_DTYPE)}


def an_object(properties: Mapping[str, Schema], *, optional: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """An object that must have its properties but for the optional ones; it may have others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), **({"required": required} if required else {}), **more}


def a_list(items: Schema, **more: Any) -> dict[str, Any]:
    """A list of one kind of items."""
    return {"type": "array", "items": items, **more}


def row_list(items: Schema) -> dict[str, Any]:
    """A list that is not empty."""
    return a_list(items, minItems=1)


ERROR = an_object({"error": TEXT})
TENSOR_INFO = an_object({"name": TEXT, "datatype": TEXT, "shape": a_list({"type": "integer", "minimum": -1})})
METADATA = an_object(
    {
        "name": TEXT,
        "versions": a_list(TEXT),
        "platform": TEXT,
        "inputs": a_list(TENSOR_INFO),
        "outputs": a_list(TENSOR_INFO),
    }
)
_DIMS = an_object({"name": TEXT, "data_type": TEXT, "dims": a_list({"type": "integer"})})
CONFIGURATION = an_object(
    {"name": TEXT, "platform": TEXT, "max_batch_size": WHOLE, "input": a_list(_DIMS), "output": a_list(_DIMS)}
)
STATISTICS = an_object(
    {
        "model_stats": a_list(
            an_object(
                {
                    "name": TEXT,
                    "version": TEXT,
                    "last_inference": WHOLE,
                    "inference_count": WHOLE,
                    "execution_count": WHOLE,
                    "inference_stats": {
                        "type": "object",
                        "additionalProperties": an_object({"count": WHOLE, "ns": WHOLE}),
                    },
                    "batch_stats": a_list(an_object({"batch_size": WHOLE})),
                }
            )
        )
    }
)
_TENSOR = {
    "name": {"type": "string", "minLength": 1},
    "shape": a_list(ROWS, minItems=1, maxItems=2),
    "datatype": DATATYPE,
    "data": DATA,
    "parameters": MAYBE_OBJECT,
}
_WANTED = a_list(an_object({"name": TEXT, "parameters": MAYBE_OBJECT}, optional=["parameters"]))


def infer_request(inputs: Schema | None = None, outputs: Schema | None = None) -> dict[str, Any]:
    """The body of a V2 inference in JSON; binary tensors leave `data` out."""
    return an_object(
        {
            "id": {"type": ["string", "null"]},
            "parameters": {
                **MAYBE_OBJECT,
                "properties": {"binary_data_output": {"type": "boolean"}},
            },
            "inputs": inputs or row_list(an_object(_TENSOR, optional=["data", "parameters"])),
            "outputs": {"anyOf": [outputs or _WANTED, {"type": "null"}]},
        },
        optional=["id", "parameters", "outputs"],
    )


def infer_response(names: Sequence[str] = ()) -> dict[str, Any]:
    """The answer of a V2 inference in JSON."""
    tensor = {
        "name": {"type": "string", "enum": list(names)} if names else TEXT,
        "shape": a_list(ROWS),
        "datatype": DATATYPE,
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    }
    outputs = a_list(an_object(tensor, optional=["data", "parameters"]))
    return an_object({"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": outputs})


def tensors_of(signature: Signature) -> dict[str, Any]:
    """The inputs of one model: a tensor for each column, or one for all where they are numbers of width 1."""
    columns = [_tensor_of(column, is_alone=len(signature.inputs) == 1) for column in signature.inputs]
    each = {"type": "array", "items": {"anyOf": columns}, "minItems": len(columns), "maxItems": len(columns)}
    if not signature.is_one_matrix:
        return each
    numbers = [name for name in WIRE_DTYPE if name != "BYTES"]
    shape = {"type": "array", "prefixItems": [ROWS, {"const": len(columns)}], "minItems": 2, "maxItems": 2}
    matrix = {**_TENSOR, "shape": shape, "datatype": {"type": "string", "enum": numbers}}
    alone = an_object(matrix, optional=["data", "parameters"])
    return {"anyOf": [{"type": "array", "items": alone, "minItems": 1, "maxItems": 1}, each]}


def wanted_of(signature: Signature) -> dict[str, Any]:
    """The outputs that may be asked of one model."""
    name = {"type": "string", "enum": [column.name for column in signature.outputs]}
    return a_list(an_object({"name": name, "parameters": MAYBE_OBJECT}, optional=["parameters"]))


def row_of(columns: Sequence[ColumnSpec], *, may_have_more: bool) -> dict[str, Any]:
    """A row as an object of its columns."""
    row = an_object({column.name: value_of(column) for column in columns})
    return row if may_have_more else {**row, "additionalProperties": False}


def list_row_of(columns: Sequence[ColumnSpec]) -> dict[str, Any]:
    """A row as a list in the order of the columns."""
    size = {"minItems": len(columns), "maxItems": len(columns)}
    return {"type": "array", "prefixItems": [value_of(column) for column in columns], **size}


def columns_of(columns: Sequence[ColumnSpec]) -> dict[str, Any]:
    """An object of columns, each a list of its rows."""
    return an_object({column.name: row_list(value_of(column)) for column in columns}, additionalProperties=False)


def prediction_of(columns: Sequence[ColumnSpec]) -> dict[str, Any]:
    """A row of the answer as an object of all outputs."""
    return an_object({column.name: answered(column) for column in columns})


def value_of(column: ColumnSpec) -> dict[str, Any]:
    """A value that a column can hold unchanged, bare or in a list of one; of a wide one, a list of as many."""
    one = _scalar_of(column)
    listed = {"type": "array", "items": one, "minItems": column.width, "maxItems": column.width}
    return {"anyOf": [one, listed]} if column.width == 1 else listed


def _scalar_of(column: ColumnSpec) -> dict[str, Any]:
    match column.datatype:
        case "BYTES":
            return {"type": "string"}
        case "BOOL":
            return {"enum": [True, False, 0, 1]}
        case "FP32":
            # Half a step above the largest value, where rounding turns to infinity.
            bound = float(2**128 - 2**103)
            return {"type": ["number", "boolean", "null"], "exclusiveMinimum": -bound, "exclusiveMaximum": bound}
        case "FP64":
            return {"type": ["number", "boolean", "null"]}
        case _:
            high = 2 ** (8 * NUMPY_DTYPE[column.datatype].itemsize - 1) - 1
            return {"type": ["integer", "boolean"], "minimum": -high - 1, "maximum": high}


def answered(column: ColumnSpec) -> dict[str, Any]:
    """A value of an output in a row of the answer."""
    kinds = {"BYTES": "string", "BOOL": "boolean", "INT32": "integer", "INT64": "integer"}
    one: dict[str, Any] = {"type": kinds.get(column.datatype, ["number", "null"])}
    return one if column.width == 1 else a_list(one, minItems=column.width, maxItems=column.width)


def _tensor_of(column: ColumnSpec, *, is_alone: bool) -> dict[str, Any]:
    sizes: list[Schema] = [ROWS, {"const": column.width}]
    shape = {"type": "array", "prefixItems": sizes, "minItems": 1 if column.width == 1 else 2, "maxItems": 2}
    texts, numbers = ["BYTES"], [name for name in WIRE_DTYPE if name != "BYTES"]
    fitting = texts if column.datatype == "BYTES" else [*numbers, "BYTES"]  # a column of `pd_json` comes as BYTES
    name = {"type": "string", "minLength": 1} if is_alone else {"const": column.name}
    tensor = {**_TENSOR, "name": name, "shape": shape, "datatype": {"type": "string", "enum": fitting}}
    return an_object(tensor, optional=["data", "parameters"])
