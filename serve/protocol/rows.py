"""Owns the way from plain JSON rows or columns, whose values carry no type, to a model's columns.

V1 and MLflow say a table in this way. A value is accepted where the column can hold it unchanged, as in `tensor`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from ...platform.errors import InvalidInput
from ...platform.model.signature import NUMPY_DTYPE, Columns, ColumnSpec, Signature
from .exchange import Request
from .inputs import match_names, split_rows
from .tensor import Array, convert, flatten, read_values, show

MAIN_OUTPUT = "prediction"
_INT64_BOUND = 2**63


def read_instances(instances: object, signature: Signature, key: str, *, may_have_more: bool = False) -> Request:
    """Read a list of rows: each an object, a list in the order of the columns, or the only column's value."""
    if not isinstance(instances, list) or not instances:
        raise InvalidInput(f"key {key!r} is {'empty' if instances == [] else show(instances)}; it must list rows")
    if isinstance(instances[0], dict):
        return _read_records(instances, signature, key, may_have_more)
    only = signature.inputs[0]
    if len(signature.inputs) == 1 and not all(_is_row_of_one(row, only) for row in instances):
        return read_named({only.name: instances}, signature, key)
    return _read_lists(instances, signature, key)


def read_named(columns: object, signature: Signature, key: str) -> Request:
    """Read an object with a list of values for each column's name."""
    if not isinstance(columns, dict):
        raise InvalidInput(f"key {key!r} is {show(columns)}; it must be an object of columns")
    match_names(list(columns), signature, key)
    read: dict[str, Array] = {}
    for column in signature.inputs:
        read[column.name] = _read_column(columns[column.name], column, key)
    rows = {name: len(values) for name, values in read.items()}
    if len(set(rows.values())) > 1:
        low, high = min(rows, key=rows.__getitem__), max(rows, key=rows.__getitem__)
        raise InvalidInput(
            f"key {key!r}: column {show(low)} has {rows[low]} rows and {show(high)} has {rows[high]}; "
            "all columns must have as many"
        )
    return Request(None, read, next(iter(rows.values())), {})


def main_output(outputs: Columns) -> list[Any]:
    """Give one value for each row: the output `prediction`, or the only one, or else an object of all."""
    if MAIN_OUTPUT in outputs or len(outputs) == 1:
        values = outputs.get(MAIN_OUTPUT)
        plain: list[Any] = (next(iter(outputs.values())) if values is None else values).tolist()
        return plain
    return records(outputs)


def records(outputs: Columns) -> list[dict[str, Any]]:
    """Give one object for each row."""
    lists = [values.tolist() for values in outputs.values()]
    return [dict(zip(outputs, row, strict=True)) for row in zip(*lists, strict=True)]


def _is_row_of_one(first: object, column: ColumnSpec) -> bool:
    """Tell a row [value] from a bare value, which is itself a list where the column is wide."""
    return isinstance(first, list) and (column.width == 1 or (len(first) == 1 and isinstance(first[0], list)))


def _read_records(instances: list[Any], signature: Signature, key: str, may_have_more: bool) -> Request:
    names = [column.name for column in signature.inputs]
    lists: dict[str, list[Any]] = {name: [] for name in names}
    for index, row in enumerate(instances):
        if not isinstance(row, dict):
            raise InvalidInput(f"key {key!r}: row {index} is {show(row)}, but row 0 is an object; all must be alike")
        if row.keys() != lists.keys() and not (may_have_more and row.keys() >= lists.keys()):
            match_names([name for name in row if not may_have_more or name in lists], signature, key)
        for name in names:
            lists[name].append(row[name])
    return read_named(lists, signature, key)


def _read_lists(instances: list[Any], signature: Signature, key: str) -> Request:
    width = len(signature.inputs)
    for index, row in enumerate(instances):
        if not isinstance(row, list) or len(row) != width:
            what = f"has {len(row)} values" if isinstance(row, list) else f"is {show(row)}"
            raise InvalidInput(f"key {key!r}: row {index} {what}; each row must be a list of {width} values")
    if signature.has_one_type:
        flat = _bare(list(chain.from_iterable(instances)))
        values = _read_flat(flat, signature.inputs[0], f"key {key!r}")
        columns = split_rows(values.reshape(len(instances), width), signature, f"key {key!r}")
        return Request(None, columns, len(instances), {})
    by_column: Mapping[str, Sequence[Any]] = {
        column.name: list(values) for column, values in zip(signature.inputs, zip(*instances, strict=True), strict=True)
    }
    return read_named(by_column, signature, key)


def _read_column(values: object, column: ColumnSpec, key: str) -> Array:
    where = f"key {key!r}: column {show(column.name)}"
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"{where} is {'empty' if values == [] else show(values)}; it must list a value for each row")
    if column.width == 1:
        return convert(_read_flat(_bare(values), column, where), column, where)
    shape = (len(values), column.width)
    return convert(_read_flat(flatten(values, shape, where), column, where), column, where).reshape(shape)


def _bare(values: list[Any]) -> list[Any]:
    """Take values out of lists of one, as which those of a column of width 1 may come."""
    if list not in set(map(type, values)):
        return values
    return [value[0] if type(value) is list and len(value) == 1 else value for value in values]


def _read_flat(flat: list[Any], column: ColumnSpec, where: str) -> Array:
    """Read values as the wire type that they would have been sent as."""
    if column.datatype == "BYTES":
        return read_values(flat, "BYTES", where)
    types = set(map(type, flat))
    if bool in types:
        if types <= {bool, type(None)}:
            return read_values(flat, "BOOL", where)
        flat = [int(value) if value is True or value is False else value for value in flat]
    if NUMPY_DTYPE[column.datatype].kind not in "bi":
        return read_values(flat, "FP64", where)
    if float in types and int in types:  # as FP64, whole numbers beyond 2**53 would be rounded
        flat = [int(value) if _is_whole(value) else value for value in flat]
    is_whole = set(map(type, flat)) == {int}
    return read_values(flat, "INT64" if is_whole else "FP64", where)


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) < _INT64_BOUND
