"""Whether a table can be what its project says it is, before anything is stored or trained."""

from __future__ import annotations

import difflib

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InvalidInput
from ..project import Project


def check_table(table: pa.Table, project: Project, name: str) -> None:
    """Check columns, target and key of one file's table; `name` is the file's, for the sentence.

    Raises InvalidInput that names the column, the value and the rule.
    """
    if table.num_rows == 0:
        raise InvalidInput(f"{name} holds no rows")
    twice = [column for column in table.column_names if table.column_names.count(column) > 1]
    if twice:
        raise InvalidInput(f"{name} has {table.column_names.count(twice[0])} columns named {twice[0]!r}")
    for key, column in _named_columns(project):
        if column not in table.column_names:
            close = difflib.get_close_matches(column, table.column_names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {_some(table.column_names)}"
            raise InvalidInput(f"{name} has no column {column!r}, which {key} names; {hint}")
    features = [column for column in table.column_names if column not in project.data.not_features]
    if not features:
        raise InvalidInput(f"{name} has no feature column: every column is target, key, time, sensitive or ignored")
    _no_gaps(table, project.data.target, "the target", name)
    if project.data.key is not None:
        _no_gaps(table, project.data.key, "the key", name)
    if project.data.time is not None:
        _no_gaps(table, project.data.time, "the time", name)
    target = table.schema.field(project.data.target).type
    if project.task.kind == "regression" and not _is_number(target):
        raise InvalidInput(f"{name}: target {project.data.target!r} has type {target}; regression needs numbers")


def _named_columns(project: Project) -> list[tuple[str, str]]:
    data = project.data
    single = [("data.target", data.target), ("data.key", data.key), ("data.time", data.time)]
    many = [("data.sensitive", c) for c in data.sensitive] + [("data.ignore", c) for c in data.ignore]
    return [(key, column) for key, column in [*single, *many] if column is not None]


def _no_gaps(table: pa.Table, column: str, role: str, name: str) -> None:
    values = table.column(column)
    gaps = pc.is_null(values, nan_is_null=True)
    count = pc.sum(gaps).as_py() or 0
    if count:
        first = pc.index(gaps, True).as_py() + 1
        raise InvalidInput(
            f"{name}: {role} {column!r} is null or NaN in {count} of {table.num_rows} rows, first in row {first}; "
            "it must have a value in each"
        )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
