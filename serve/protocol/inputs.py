"""Owns the tensors of a V2 request and their way into a model's columns; it knows no JSON text and no HTTP.

Inputs come in two forms. A model whose inputs are all plain numbers takes one tensor of shape [rows, columns]
under any name; every model takes one tensor for each column, by the column's name, of shape [rows], [rows, 1]
or [rows, width]. The only tensor of a model with one column may have any name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from ...platform.errors import InvalidInput
from ...platform.model.matrix import Matrix
from ...platform.model.signature import Columns, ColumnSpec, Signature
from .binary import LENGTH_HEADER, SIZE_PARAMETER, Tail, read_binary
from .content import content_type, unpacked
from .tensor import WIRE_DTYPE, Array, convert, flatten, read_values, show

_MAX_RANK = 2
_MAX_NAMES_SHOWN = 10


class Tensor(NamedTuple):
    """One entry of `inputs`, its head checked and its data still raw: JSON values, or bytes."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: object
    where: str

    def values(self) -> Array:
        """Read the elements, flat and row-major."""
        if isinstance(self.data, memoryview):
            return read_binary(self.data, math.prod(self.shape), self.datatype, self.where)
        return read_values(flatten(self.data, self.shape, self.where), self.datatype, self.where)


def read_tensors(entries: object, tail: Tail | None) -> list[Tensor]:
    """Check the heads of the entries; those without data take theirs from `tail`."""
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(f"key 'inputs' is {'empty' if entries == [] else show(entries)}; it must list tensors")
    tensors = [_read_tensor(index, entry, tail) for index, entry in enumerate(entries)]
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInput(f"key 'inputs' names {shown_names(twice)} more than once; each column comes once")
    if tail is not None:
        tail.check_all_taken()
    return tensors


def _read_tensor(index: int, entry: object, tail: Tail | None) -> Tensor:
    if not isinstance(entry, dict):
        raise InvalidInput(f"key 'inputs' holds {show(entry)} at position {index}; each entry must be an object")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"input {index}: key 'name' is {show(name)}; it must be text of one character or more")
    where = f"input {show(name)}"
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or datatype not in WIRE_DTYPE:
        raise InvalidInput(f"{where}: key 'datatype' is {show(datatype)}; it must be one of {', '.join(WIRE_DTYPE)}")
    parameters, shape = entry.get("parameters"), entry.get("shape")
    if not isinstance(parameters, dict | None):
        raise InvalidInput(f"{where}: key 'parameters' is {show(parameters)}; it must be an object")
    if "data" not in entry:
        return Tensor(name, _read_shape(shape, where), datatype, _raw(parameters, tail, where), where)
    sizes, data = _read_shape(shape, where), entry["data"]
    if parameters and (named := content_type(parameters)):
        datatype, sizes, data = unpacked(named, (datatype, sizes, data), where)
    return Tensor(name, sizes, datatype, data, where)


def _raw(parameters: object, tail: Tail | None, where: str) -> memoryview:
    size = parameters.get(SIZE_PARAMETER) if isinstance(parameters, dict) else None
    if size is None:
        raise InvalidInput(f"{where}: key 'data' is missing, and so is the binary tensor's {SIZE_PARAMETER!r}")
    if tail is None:
        raise InvalidInput(f"{where}: it is a binary tensor, but header {LENGTH_HEADER!r} is missing")
    return tail.take(size, where)


def _read_shape(shape: object, where: str) -> tuple[int, ...]:
    if not isinstance(shape, list):
        raise InvalidInput(f"{where}: key 'shape' is {show(shape)}; it must be a list of whole numbers")
    if not 1 <= len(shape) <= _MAX_RANK:
        raise InvalidInput(f"{where}: key 'shape' has {len(shape)} sizes; it must be [rows] or [rows, width]")
    for size in shape:
        if type(size) is not int or size < 1:
            raise InvalidInput(f"{where}: key 'shape' holds {show(size)}; each size must be a whole number above 0")
    return tuple(shape)


def to_columns(tensors: list[Tensor], signature: Signature) -> Columns:
    """Bring the tensors into the model's columns, each value checked against its column's type."""
    return _split_matrix(tensors[0], signature) if _is_matrix(tensors, signature) else _match(tensors, signature)


def split_rows(values_NF: Array, signature: Signature, where: str) -> Columns:
    """Part rows (N) of numbers into the model's columns (F), which must all be numbers of width 1."""
    if signature.has_one_type:
        if not values_NF.flags.aligned:  # it was read in place, behind JSON of any length
            values_NF = values_NF.copy()
        # Many columns cost a microsecond together here, and one each below.
        return Matrix(signature.places, convert(values_NF, signature.inputs[0], where))
    by_column = np.ascontiguousarray(values_NF.T)
    return {
        column.name: convert(values, column, where) for column, values in zip(signature.inputs, by_column, strict=True)
    }


def match_names(given: Sequence[str], signature: Signature, key: str) -> None:
    """Raise InvalidInput unless the names are those of the model's columns."""
    missing = [column.name for column in signature.inputs if column.name not in given]
    extra = sorted(set(given) - {column.name for column in signature.inputs})
    if missing or extra:
        parts = [f"misses {shown_names(missing)}"] if missing else []
        parts += [f"has the unknown {shown_names(extra)}"] if extra else []
        raise InvalidInput(f"key {key!r} {' and '.join(parts)}; each column of the model must come once")


def shown_names(names: Sequence[str]) -> str:
    """Write names for a sentence, the first few of many."""
    shown = ", ".join(show(name) for name in names[:_MAX_NAMES_SHOWN])
    left = len(names) - _MAX_NAMES_SHOWN
    return f"{shown} and {left} more" if left > 0 else shown


def _is_matrix(tensors: list[Tensor], signature: Signature) -> bool:
    """Tell the two forms apart; a lone tensor with a column's name is that column, unless it is too wide."""
    tensor = tensors[0]
    if len(tensors) > 1 or not signature.is_one_matrix or len(tensor.shape) != _MAX_RANK:
        return False
    return tensor.name not in signature.places or tensor.shape[1] == len(signature.inputs)


def _split_matrix(tensor: Tensor, signature: Signature) -> Columns:
    rows, width = tensor.shape
    if width != len(signature.inputs):
        takes = f"{len(signature.inputs)}: {shown_names([column.name for column in signature.inputs])}"
        raise InvalidInput(f"{tensor.where}: key 'shape' says {width} columns; the model takes {takes}")
    return split_rows(tensor.values().reshape(rows, width), signature, tensor.where)


def _match(tensors: list[Tensor], signature: Signature) -> Columns:
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(tensors) == len(signature.inputs) == 1:
        by_name = {signature.inputs[0].name: tensors[0]}
    match_names(list(by_name), signature, "inputs")
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
        return alike
    return {column.name: _read_column(t, column) for t, column in zip(ordered, signature.inputs, strict=True)}


def _read_alike(tensors: list[Tensor], signature: Signature) -> Matrix | None:
    """Read JSON columns of one type as one array, which costs a third of one array each.

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
    if len(flat) != rows * len(tensors):
        return None
    return Matrix(signature.places, np.ascontiguousarray(values.reshape(len(tensors), rows).T))


def _read_column(tensor: Tensor, column: ColumnSpec) -> Array:
    width = tensor.shape[1] if len(tensor.shape) == _MAX_RANK else 1
    if width != column.width:
        raise InvalidInput(
            f"{tensor.where}: key 'shape' is {list(tensor.shape)}; the column has {column.width} values a row"
        )
    values = convert(tensor.values(), column, tensor.where)
    return values if column.width == 1 else values.reshape(tensor.shape)
