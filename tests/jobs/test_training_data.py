"""A snapshot becomes tensors: parts that never share a row, features as the task encodes them, targets as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.jobs.training.data import encode_rows, part_tables
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.schema import fit_schema
from rayloop.platform.model.task import find_task

TASK = find_task("tabular")


def test_parts_share_no_row_and_leave_none_out(known: Any) -> None:
    parts = part_tables(known.snapshot, known.project)
    assert set(parts) == {"train", "validation", "test"}
    numbers = [table.column("id").to_pylist() for table in parts.values()]
    assert sorted(number for part in numbers for number in part) == list(range(120))
    assert [part_tables(known.snapshot, known.project)[name].equals(table) for name, table in parts.items()] == [
        True
    ] * 3


def test_rows_are_encoded_as_the_schema_says(make_toy: Any) -> None:
    toy = make_toy.make(100)
    rows = toy.rows
    assert rows.count == 100
    assert rows.inputs["numeric"].shape == (100, 2)
    assert rows.inputs["numeric"].dtype == torch.float32
    gaps = toy.table.column("a").is_null().to_numpy()
    assert gaps.any()
    assert np.array_equal(torch.isnan(rows.inputs["numeric"][:, 0]).numpy(), gaps)
    categories = ["", *toy.schema.categorical[0].categories]
    assert [categories[code] for code in rows.inputs["categorical"][:, 0]] == toy.table.column("color").to_pylist()
    assert rows.target.dtype == torch.int64
    assert rows.target.tolist() == toy.table.column("y").to_pylist()


def test_texts_that_training_never_saw_are_the_category_zero(make_toy: Any) -> None:
    toy = make_toy.make(50)
    place = toy.table.column_names.index("color")
    strange = toy.table.set_column(place, "color", pa.array(["never seen"] * 49 + [None], pa.string()))
    assert encode_rows(TASK, toy.schema, strange).inputs["categorical"].unique().tolist() == [0]


def test_a_class_that_training_never_saw_is_named(make_toy: Any) -> None:
    toy = make_toy.make(50)
    strange = toy.table.set_column(toy.table.column_names.index("y"), "y", pa.array([0] * 49 + [7]))
    with pytest.raises(InvalidInput, match="'y' has the class 7"):
        encode_rows(TASK, toy.schema, strange)


def test_text_classes_become_numbers_in_sorted_order(make_toy: Any) -> None:
    toy = make_toy.make(4)
    texts = toy.table.set_column(toy.table.column_names.index("y"), "y", pa.array(["no", "yes", "maybe", "no"]))
    rows = encode_rows(TASK, fit_schema(texts, toy.project), texts)
    assert rows.target.tolist() == [1, 2, 0, 1]


def test_a_number_to_predict_stays_a_number(make_toy: Any) -> None:
    toy = make_toy.make(20, kind="regression")
    assert toy.rows.target.dtype == torch.float32
    assert np.allclose(toy.rows.target.numpy(), toy.table.column("y").to_numpy(), rtol=1e-6)


def test_a_batch_holds_the_rows_at_its_places_in_their_order(make_toy: Any) -> None:
    rows = make_toy.make(30).rows
    places = torch.tensor([7, 3, 3])
    batch = rows.take(places)
    assert torch.equal(batch.target, rows.target[places])
    assert torch.equal(batch.inputs["categorical"], rows.inputs["categorical"][places])


def test_tensors_own_their_memory(make_toy: Any) -> None:
    toy = make_toy.make(10)
    toy.rows.target.add_(1)
    toy.rows.inputs["numeric"].zero_()
    assert toy.table.column("y").to_pylist() == (toy.rows.target - 1).tolist()
    assert toy.table.column("b").to_numpy().any()


def test_moved_rows_are_the_same_rows(make_toy: Any) -> None:
    rows = make_toy.make(10).rows
    moved = rows.to(torch.device("cpu"))
    assert torch.equal(moved.target, rows.target)
    assert moved.inputs.keys() == rows.inputs.keys()
