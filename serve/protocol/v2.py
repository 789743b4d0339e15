"""Owns the Open Inference Protocol V2 in JSON as pure functions; it knows no HTTP, no server and no model.

Inputs come in two forms. A model whose inputs are all plain numbers takes one tensor of shape [rows, columns]
under any name; every model takes one tensor for each column, by the column's name, of shape [rows], [rows, 1]
or [rows, width]. Unknown keys and parameters are let pass, as clients add their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson

from ...platform.errors import InvalidInput
from ...platform.model.signature import Columns, ColumnSpec, Signature
from .tensor import WIRE_DTYPE, Array, convert, flatten, read_values, show

_MAX_RANK = 2
_MAX_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class V2Request:
    """What a request asks: `rows` rows in the model's columns, and the outputs wanted (none named: all)."""

    id: str | None
    columns: Columns
    rows: int
    parameters: Mapping[str, Any]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    """One entry of `inputs`, its head checked and its data still raw."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: object
    where: str


def decode(body: bytes, signature: Signature) -> V2Request:
    """Read the body of an infer request; raises InvalidInput, and nothing else, where it breaks a rule."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"the body is {show(document)}; it must be an object with the key 'inputs'")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"key 'id' is {show(request_id)}; it must be text")
    parameters = document.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidInput(f"key 'parameters' is {show(parameters)}; it must be an object")
    wanted = _wanted_outputs(document.get("outputs"), signature)
    tensors = _read_tensors(document.get("inputs"))
    columns = _split_matrix(tensors[0], signature) if _is_matrix(tensors, signature) else _match(tensors, signature)
    return V2Request(request_id, columns, tensors[0].shape[0], parameters or {}, wanted)


def encode(model: str, version: int, request_id: str, outputs: Columns, signature: Signature) -> bytes:
    """Write the answer of an infer request: each output of the signature, flat and row-major; NaN is null.

    `outputs` are as `checked_outputs` gives them.
    """
    answer = {
        "model_name": model,
        "model_version": str(version),
        "id": request_id,
        "outputs": [_written(column, outputs[column.name]) for column in signature.outputs],
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def metadata(model: str, versions: Sequence[int], signature: Signature, platform: str) -> bytes:
    """Write what a model takes and gives; -1 stands for any number of rows."""
    return orjson.dumps(
        {
            "name": model,
            "versions": [str(version) for version in versions],
            "platform": platform,
            "inputs": [_described(column) for column in signature.inputs],
            "outputs": [_described(column) for column in signature.outputs],
        }
    )


def _described(column: ColumnSpec) -> dict[str, object]:
    shape = [-1] if column.width == 1 else [-1, column.width]
    return {"name": column.name, "datatype": column.datatype, "shape": shape}


def _written(column: ColumnSpec, values: Array) -> dict[str, object]:
    # orjson takes no array of Python objects, and no strided one.
    data = values.reshape(-1).tolist() if values.dtype.kind == "O" else np.ascontiguousarray(values).reshape(-1)
    return {"name": column.name, "shape": values.shape, "datatype": column.datatype, "data": data}


def _wanted_outputs(entries: object, signature: Signature) -> tuple[str, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise InvalidInput(f"key 'outputs' is {show(entries)}; it must be a list")
    known = [column.name for column in signature.outputs]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidInput(f"key 'outputs' holds {show(entry)}; each entry must be an object with a 'name'")
        if entry["name"] not in known:
            raise InvalidInput(f"output {show(entry['name'])} is unknown; the model gives {_names(known)}")
    return tuple(entry["name"] for entry in entries)


def _read_tensors(entries: object) -> list[_Tensor]:
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(f"key 'inputs' is {'empty' if entries == [] else show(entries)}; it must list tensors")
    tensors = [_read_tensor(index, entry) for index, entry in enumerate(entries)]
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInput(f"key 'inputs' names {_names(twice)} more than once; each column comes once")
    return tensors


def _read_tensor(index: int, entry: object) -> _Tensor:
    if not isinstance(entry, dict):
        raise InvalidInput(f"key 'inputs' holds {show(entry)} at position {index}; each entry must be an object")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"input {index}: key 'name' is {show(name)}; it must be text of one character or more")
    where = f"input {show(name)}"
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or datatype not in WIRE_DTYPE:
        raise InvalidInput(f"{where}: key 'datatype' is {show(datatype)}; it must be one of {', '.join(WIRE_DTYPE)}")
    if "data" not in entry:
        raise InvalidInput(f"{where}: key 'data' is missing; values come as JSON, binary tensors are not accepted")
    return _Tensor(name, _read_shape(entry.get("shape"), where), datatype, entry["data"], where)


def _read_shape(shape: object, where: str) -> tuple[int, ...]:
    if not isinstance(shape, list):
        raise InvalidInput(f"{where}: key 'shape' is {show(shape)}; it must be a list of whole numbers")
    if not 1 <= len(shape) <= _MAX_RANK:
        raise InvalidInput(f"{where}: key 'shape' has {len(shape)} sizes; it must be [rows] or [rows, width]")
    for size in shape:
        if type(size) is not int or size < 1:
            raise InvalidInput(f"{where}: key 'shape' holds {show(size)}; each size must be a whole number above 0")
    return tuple(shape)


def _is_matrix(tensors: list[_Tensor], signature: Signature) -> bool:
    """Tell the two forms apart; a lone tensor with a column's name is that column, unless it is too wide."""
    tensor = tensors[0]
    if len(tensors) > 1 or not signature.is_one_matrix or len(tensor.shape) != _MAX_RANK:
        return False
    is_column = any(column.name == tensor.name for column in signature.inputs)
    return not is_column or tensor.shape[1] == len(signature.inputs)


def _split_matrix(tensor: _Tensor, signature: Signature) -> dict[str, Array]:
    rows, width = tensor.shape
    if width != len(signature.inputs):
        takes = f"{len(signature.inputs)}: {_names([column.name for column in signature.inputs])}"
        raise InvalidInput(f"{tensor.where}: key 'shape' says {width} columns; the model takes {takes}")
    flat = flatten(tensor.data, tensor.shape, tensor.where)
    values = read_values(flat, tensor.datatype, tensor.where).reshape(rows, width)
    by_column = np.ascontiguousarray(values.T)
    if len({column.datatype for column in signature.inputs}) == 1:
        # Many columns cost a microsecond together here, and one each below.
        by_column = convert(by_column, signature.inputs[0], tensor.where)
        return dict(zip((column.name for column in signature.inputs), by_column, strict=True))
    return {
        column.name: convert(values, column, tensor.where)
        for column, values in zip(signature.inputs, by_column, strict=True)
    }


def _match(tensors: list[_Tensor], signature: Signature) -> dict[str, Array]:
    by_name = {tensor.name: tensor for tensor in tensors}
    missing = [column.name for column in signature.inputs if column.name not in by_name]
    extra = sorted(by_name.keys() - {column.name for column in signature.inputs})
    if missing or extra:
        parts = [f"misses {_names(missing)}"] if missing else []
        parts += [f"has the unknown {_names(extra)}"] if extra else []
        raise InvalidInput(f"key 'inputs' {' and '.join(parts)}; each column of the model must come once")
    first = tensors[0]
    for tensor in tensors:
        if tensor.shape[0] != first.shape[0]:
            raise InvalidInput(
                f"{tensor.where} has {tensor.shape[0]} rows and {first.where} has {first.shape[0]}; "
                "all columns must have as many"
            )
    ordered = [by_name[column.name] for column in signature.inputs]
    alike = _read_alike(ordered, signature) if signature.is_one_matrix else None
    if alike is not None:
        return dict(zip((column.name for column in signature.inputs), alike, strict=True))
    return {tensor.name: _read_column(tensor, column) for tensor, column in zip(ordered, signature.inputs, strict=True)}


def _read_alike(tensors: list[_Tensor], signature: Signature) -> Array | None:
    """Read columns of one type as one array (columns, rows), which costs a third of one array each.

    None where the types differ, or where a column breaks a rule, which `_read_column` will name.
    """
    first, rows = tensors[0], tensors[0].shape[0]
    if len({(t.datatype, c.datatype, math.prod(t.shape)) for t, c in zip(tensors, signature.inputs, strict=True)}) > 1:
        return None
    try:
        flat = list(chain.from_iterable(flatten(tensor.data, tensor.shape, tensor.where) for tensor in tensors))
        values = convert(read_values(flat, first.datatype, first.where), signature.inputs[0], first.where)
    except InvalidInput:
        return None
    return values.reshape(len(tensors), rows) if len(flat) == rows * len(tensors) else None


def _read_column(tensor: _Tensor, column: ColumnSpec) -> Array:
    width = tensor.shape[1] if len(tensor.shape) == _MAX_RANK else 1
    if width != column.width:
        raise InvalidInput(
            f"{tensor.where}: key 'shape' is {list(tensor.shape)}; the column has {column.width} values a row"
        )
    flat = flatten(tensor.data, tensor.shape, tensor.where)
    values = convert(read_values(flat, tensor.datatype, tensor.where), column, tensor.where)
    return values if column.width == 1 else values.reshape(tensor.shape)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(show(name) for name in names[:_MAX_NAMES_SHOWN])
    left = len(names) - _MAX_NAMES_SHOWN
    return f"{shown} and {left} more" if left > 0 else shown
