"""Owns what a schema must know of every row and not of a sample: classes, labels, categories; it reads no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from ..project import Project
from .columns import is_list
from .feature import ANY_KIND, MAX_CATEGORIES, fit_feature
from .schema import READS, Schema
from .target import MAX_CLASSES, fit_target


class Distinct:
    """The different values of a column that comes in pieces, null among them; beyond `most` no more are added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: pa.Array | None = None

    def add(self, values: pa.ChunkedArray) -> None:
        """Take a piece in."""
        if self._known is None:
            self._known = pc.unique(values)
        elif len(self._known) <= self._most + 1:  # null is no value
            self._known = pc.unique(pa.chunked_array([self._known, pc.unique(values)]))

    def values(self) -> pa.ChunkedArray:
        """The values, in the order in which they came."""
        return pa.chunked_array([self._known])


def complete_schema(schema: Schema, project: Project, tables: Iterable[pa.Table]) -> Schema:
    """The schema of a sample with the categories, classes and labels of all training rows; the numbers stay.

    Only the columns of `columns_to_complete` are looked at. Raises InvalidInput where a column has too many different
    values, or where a number to predict is not finite.
    """
    kinds = READS.get(project.task.use, ANY_KIND)
    texts = {feature.name: Distinct(MAX_CATEGORIES) for feature in schema.categorical}
    name, classes = schema.target.name, Distinct(MAX_CLASSES)
    for table in tables:
        for column, found in texts.items():
            found.add(table.column(column).cast(pa.string()))
        values = table.column(name)
        if schema.target.classes:
            classes.add(_one_by_one(values))
        elif not is_list(values.type):
            fit_target(project, values)
    features = [
        fit_feature(one.name, texts[one.name].values(), kinds) if one.name in texts else one for one in schema.features
    ]
    if not schema.target.classes:
        return replace(schema, features=tuple(features))
    known = classes.values()
    if schema.target.is_multilabel:
        if pa.types.is_boolean(known.type):  # as many labels as each row has marks
            return replace(schema, features=tuple(features))
        known = pa.chunked_array([pa.ListArray.from_arrays(range(len(known) + 1), known.combine_chunks())])
    return Schema(tuple(features), fit_target(project, known))


def columns_to_complete(schema: Schema) -> list[str]:
    """The columns that `complete_schema` needs of every training row."""
    return [*(feature.name for feature in schema.categorical), schema.target.name]


def _one_by_one(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Classes, or the labels of all rows."""
    if is_list(values.type):
        return pc.list_flatten(values)
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
