"""A snapshot's rows as tensors, part by part; it knows torch and no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ...platform.data import PARTS, Snapshot, assign_parts
from ...platform.data.split import Part
from ...platform.model.schema import Schema, framed, table_columns
from ...platform.model.task import Batch, Inputs, Task
from ...platform.project import Project


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows of one part, whole in memory; every tensor has the rows as its first axis."""

    inputs: Inputs
    target: Tensor

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.target)

    def to(self, device: torch.device) -> Rows:
        """The same rows on another device."""
        return Rows({name: tensor.to(device) for name, tensor in self.inputs.items()}, self.target.to(device))

    def take(self, places: Tensor) -> Batch:
        """The rows at some places, as a batch."""
        inputs = {name: tensor.index_select(0, places) for name, tensor in self.inputs.items()}
        return Batch(inputs, self.target.index_select(0, places))

    def slice(self, first: int, end: int) -> Batch:
        """Rows that lie beside each other, not copied."""
        return Batch({name: tensor[first:end] for name, tensor in self.inputs.items()}, self.target[first:end])


_last: list[tuple[object, Mapping[Part, pa.Table]]] = []  # a job asks four times for the same


def part_tables(snapshot: Snapshot, project: Project) -> Mapping[Part, pa.Table]:
    """The snapshot's table, parted as the project says; what was asked for last is kept."""
    asked = (snapshot.store.root, snapshot.digest, project.data, project.task)
    if not _last or _last[0][0] != asked:
        _last.clear()  # before the next is read: two may not fit
        table = snapshot.table()
        parts = assign_parts(table, project.data, snapshot.row_keys())
        _last.append(
            (asked, {part: framed(table.filter(pa.array(parts == place)), project) for place, part in enumerate(PARTS)})
        )
    return _last[0][1]


def forget_tables() -> None:
    """Keep no table: a worker needs the memory for its rows."""
    _last.clear()


def encode_rows(task: Task, schema: Schema, table: pa.Table) -> Rows:
    """Tensors of a table: the features as the task encodes them, the target as class numbers or values."""
    columns = table_columns(table, [feature.name for feature in schema.features])
    target = np.array(schema.encode_target(table.column(schema.target.name)))  # a copy: Arrow's memory is read-only
    return Rows(task.encode(schema, columns), torch.from_numpy(target))
