"""A window holds the wanted rows in the order that is asked for, whichever way its columns allow."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.jobs.training.data import Rows, encode_rows
from rayloop.jobs.training.window import Chosen, mixed
from rayloop.platform.model.matrix import Matrix
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.signature import Columns
from rayloop.platform.model.tabular import TabularTask
from torch import Tensor

from .conftest import build_project

GROUPS = ((64, 64), (7, 3), (50, 0), (129, 100))  # rows, and how many of them are wanted


class Watched(TabularTask):
    """The tabular task, which remembers what it encoded."""

    def __init__(self) -> None:
        self.seen: list[Columns] = []

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        self.seen.append(columns)
        return super().encode(schema, columns)


def table(rows: int, seed: int, kind: pa.DataType, **more: Any) -> pa.Table:
    random = np.random.default_rng(seed)
    numbers = {
        name: pa.array(random.standard_normal(rows), mask=random.uniform(size=rows) < missing).cast(kind)
        for name, missing in (("a", 0.0), ("b", 0.2), ("c", 0.0))
    }
    others = {name: pa.array([make(place) for place in range(rows)]) for name, make in more.items()}
    return pa.table({**numbers, **others, "y": random.integers(0, 3, rows)})


def chosen(kind: pa.DataType, **more: Any) -> list[Chosen]:
    random = np.random.default_rng(9)
    return [
        Chosen(table(rows, seed, kind, **more), np.sort(random.permutation(rows)[:wanted]))
        for seed, (rows, wanted) in enumerate(GROUPS)
    ]


def one_by_one(task: TabularTask, schema: Schema, groups: list[Chosen], order: Tensor) -> Rows:
    """The same in plain steps: choose, join, encode, mix."""
    rows = encode_rows(task, schema, pa.concat_tables([one.table.take(pa.array(one.places)) for one in groups]))
    batch = rows.take(order)
    return Rows(batch.inputs, batch.target)


@pytest.mark.parametrize(
    ("kind", "more", "is_matrix"),
    [
        (pa.float32(), {}, True),
        (pa.float64(), {}, True),
        (pa.float32(), {"d": lambda place: place % 5}, False),  # whole numbers may have gaps, and another type then
        (pa.float64(), {"d": lambda place: f"c{place % 4}"}, False),
    ],
)
def test_the_rows_are_those_of_plain_steps(kind: pa.DataType, more: dict[str, Any], is_matrix: bool) -> None:
    groups = chosen(kind, **more)
    schema = fit_schema(pa.concat_tables([one.table for one in groups]), build_project(data={"key": None}))
    order = torch.randperm(167, generator=torch.Generator().manual_seed(3))
    task = Watched()
    found, wanted = mixed(task, schema, iter(groups), order), one_by_one(TabularTask(), schema, groups, order)
    assert isinstance(task.seen[0], Matrix) is is_matrix
    assert found.target.tolist() == wanted.target.tolist()
    assert found.inputs.keys() == wanted.inputs.keys()
    for name, tensor in wanted.inputs.items():
        assert found.inputs[name].dtype == tensor.dtype
        assert torch.equal(torch.nan_to_num(found.inputs[name], nan=-9.0), torch.nan_to_num(tensor, nan=-9.0))
        assert torch.equal(torch.isnan(found.inputs[name]), torch.isnan(tensor))


def test_only_one_row_group_is_held_at_a_time_where_numbers_allow_it() -> None:
    plain = chosen(pa.float32())
    schema = fit_schema(plain[0].table, build_project(data={"key": None}))
    tables: list[weakref.ref[pa.Table]] = []
    held: list[int] = []

    def read() -> Iterator[Chosen]:
        for one in plain:
            held.append(sum(known() is not None for known in tables))
            copied = one.table.slice()  # an object of its own
            tables.append(weakref.ref(copied))
            given = Chosen(copied, one.places)
            del copied
            yield given
            del given

    mixed(TabularTask(), schema, read(), torch.arange(167))
    assert held == [0, 0, 0, 0]
