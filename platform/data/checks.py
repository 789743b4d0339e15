"""Whether a table can be what its project says it is, before anything is stored or trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InvalidInput
from ..project import Project
from .source import SourceFile


def check_table(table: pa.Table, project: Project, name: str) -> None:
    """Check columns, target and key of one file's table; `name` is the file's, for the sentence.

    Raises InvalidInput that names the column, the value and the rule.
    """
    check_pieces(table.schema, table.num_rows, [table], project, name)


def check_file(file: SourceFile, project: Project) -> None:
    """The same of a file, whose rows are all read once and never held together."""
    check_pieces(file.schema, file.rows, file.pieces(), project, file.name)


def check_pieces(schema: pa.Schema, rows: int, pieces: Iterable[pa.Table], project: Project, name: str) -> None:
    """The same of rows that come in pieces; those of a wrong schema are not asked for."""
    _check_schema(schema, rows, project, name)
    gaps = [
        _Gaps(role, column)
        for role, column in (("target", project.data.target), ("key", project.data.key), ("time", project.data.time))
        if column is not None
    ]
    for piece in pieces:
        for found in gaps:
            found.add(piece.column(found.column))
    for found in gaps:
        found.require_none(name)
    target = schema.field(project.data.target).type
    if project.task.kind == "regression" and not _is_number(target):
        raise InvalidInput(f"{name}: target {project.data.target!r} has type {target}; regression needs numbers")


def _check_schema(schema: pa.Schema, rows: int, project: Project, name: str) -> None:
    if rows == 0:
        raise InvalidInput(f"{name} holds no rows")
    names = schema.names
    twice = [column for column in names if names.count(column) > 1]
    if twice:
        raise InvalidInput(f"{name} has {names.count(twice[0])} columns named {twice[0]!r}")
    for key, column in _named_columns(project):
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {_some(names)}"
            raise InvalidInput(f"{name} has no column {column!r}, which {key} names; {hint}")
    if all(column in project.data.not_features for column in names):
        raise InvalidInput(f"{name} has no feature column: every column is target, key, time, sensitive or ignored")


def _named_columns(project: Project) -> list[tuple[str, str]]:
    data = project.data
    single = [("data.target", data.target), ("data.key", data.key), ("data.time", data.time)]
    many = [("data.sensitive", c) for c in data.sensitive] + [("data.ignore", c) for c in data.ignore]
    return [(key, column) for key, column in [*single, *many] if column is not None]


class _Gaps:
    """Counts the rows of a column that hold no value."""

    def __init__(self, role: str, column: str) -> None:
        self.role, self.column = role, column
        self.count = self.rows = self.first = 0

    def add(self, values: pa.ChunkedArray) -> None:
        gaps = pc.is_null(values, nan_is_null=True)
        count = pc.sum(gaps).as_py() or 0
        if count and not self.count:
            self.first = self.rows + pc.index(gaps, True).as_py() + 1
        self.count, self.rows = self.count + count, self.rows + len(values)

    def require_none(self, name: str) -> None:
        if self.count:
            raise InvalidInput(
                f"{name}: the {self.role} {self.column!r} is null or NaN in {self.count} of {self.rows} rows, first in "
                f"row {self.first}; it must have a value in each"
            )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
