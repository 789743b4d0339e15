"""Owns the different values of columns that come in pieces: what a schema must know of every row; it reads no file."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from ..project import Project
from .columns import is_list, is_text
from .feature import ANY_KIND, MAX_CATEGORIES
from .schema import READS
from .target import fit_target

MOST = MAX_CATEGORIES + 1
"""Of a column; beyond so many a schema refuses it, and no more are looked for."""


class Distinct:
    """The different values of one column, null among them."""

    def __init__(self) -> None:
        self._known: pa.Array | None = None

    def add(self, values: pa.ChunkedArray) -> None:
        """Take a piece in."""
        if self._known is None:
            self._known = pc.unique(values)
        elif len(self._known) <= MOST:  # null is no value
            self._known = pc.unique(pa.chunked_array([self._known, pc.unique(values)]))

    def values(self) -> pa.ChunkedArray:
        """The values, in the order in which they came."""
        return pa.chunked_array([self._known])


def columns_of_all(schema: pa.Schema, project: Project) -> list[str]:
    """The columns that must be looked at in every row: texts that may be categories, and the target."""
    names = [field.name for field in schema if is_text(field.type) and field.name not in project.data.not_features]
    can_be_categories = "categorical" in READS.get(project.task.use, ANY_KIND)
    return [*(names if can_be_categories else []), project.data.target]


def distinct_columns(tables: Iterable[pa.Table], project: Project) -> dict[str, pa.ChunkedArray]:
    """Columns that stand in for whole ones when a schema is fitted: all their values, each one once.

    A target that is a number has none; its values are checked. Raises InvalidInput where one is not finite.
    """
    target, is_lists = project.data.target, project.task.kind == "multilabel"
    found: dict[str, Distinct] = {}
    for table in tables:
        for name in table.column_names:
            values = table.column(name)
            if name != target:
                found.setdefault(name, Distinct()).add(values.cast(pa.string()))
            elif project.task.kind == "regression":
                if not is_list(values.type):
                    fit_target(project, values)
            elif (classes := _classes(values, is_lists=is_lists)) is not None:
                found.setdefault(name, Distinct()).add(classes)
    columns = {name: one.values() for name, one in found.items()}
    if is_lists and target in columns:
        labels = columns[target].combine_chunks()
        columns[target] = pa.chunked_array([pa.ListArray.from_arrays(range(len(labels) + 1), labels)])
    return columns


def _classes(values: pa.ChunkedArray, *, is_lists: bool) -> pa.ChunkedArray | None:
    """Classes, or the labels of all rows; None where there are none to count, as of marks or of a wrong type."""
    kind = values.type
    if is_lists:
        has_marks = is_list(kind) and pa.types.is_boolean(kind.value_type)
        return pc.list_flatten(values) if is_list(kind) and not has_marks else None
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    return values if is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) else None
