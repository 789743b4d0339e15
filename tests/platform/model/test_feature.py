"""A column becomes a feature of one kind, and what can be none is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.columns import to_numpy
from rayloop.platform.model.feature import Feature, fit_feature
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.signature import ColumnSpec
from rayloop.platform.project import Project

NESTED = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, None]]]
TENSOR = pa.fixed_shape_tensor(pa.int16(), (2, 3))


def column(values: Any, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.int64())),
        pa.list_(pa.list_(pa.float32(), 3), 2),
        pa.large_list(pa.list_(pa.uint8(), 3)),
    ],
)
def test_lists_are_arrays_of_their_shape(kind: pa.DataType) -> None:
    found = fit_feature("x", column(NESTED, kind))
    assert (found.kind, found.datatype, found.shape, found.has_missing) == ("array", "FP32", (2, 3), True)
    assert found.mean == pytest.approx(6.0)
    assert found.spec == ColumnSpec("x", "FP32", 6)
    values = to_numpy(column(NESTED, kind))
    assert (values.dtype, values.shape) == (np.float32, (2, 6))
    assert values[1, :5].tolist() == [7, 8, 9, 10, 11]


def test_arrows_own_tensors_are_arrays() -> None:
    storage = pa.array([[1, 2, 3, 4, 5, 6]] * 2, pa.list_(pa.int16(), 6))
    values = pa.chunked_array([pa.ExtensionArray.from_storage(TENSOR, storage)])
    assert fit_feature("x", values).shape == (2, 3)
    assert to_numpy(values).tolist() == [[1, 2, 3, 4, 5, 6]] * 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1], [2, 3]], "column 'x' has lists of 1 to 2 values; each row must have as many, and one at least"),
        ([[], []], "column 'x' has lists of 0 to 0 values"),
        ([[1], None], "column 'x' has no list in row 2; each row must have one"),
        ([[[1], [2]], [[3], None]], "column 'x' has no list in row 2; each row must have one"),
        ([["a"], ["b"]], "column 'x' has type list<item: string>, which no feature can have"),
        (pa.nulls(2), "column 'x' has type null, which no feature can have: nothing but nulls; name it under"),
    ],
)
def test_what_is_no_array_is_refused(values: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        fit_feature("x", column(values))
    assert said in str(error.value)


def test_edges_part_the_rows_evenly() -> None:
    values = np.random.default_rng(0).exponential(size=9_600)
    found = fit_feature("x", column(values))
    counts = np.histogram(values, found.edges)[0]
    assert set(counts.tolist()) <= {199, 200, 201}
    assert (found.edges[0], found.edges[-1]) == (values.min(), values.max())
    assert fit_feature("x", column([True, False, True])).edges == (0.0, 1.0)
    assert fit_feature("x", column([5, 5])).edges == ()


def test_a_feature_survives_json() -> None:
    for values in ([1.5, None, 3], ["b", "a"], NESTED, [b"x", b"y"], pa.array([1, 2], pa.timestamp("s"))):
        found = fit_feature("x", column(values))
        assert Feature.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_an_artifact_from_before_these_kinds_is_read() -> None:
    old = {"name": "x", "kind": "numeric", "datatype": "FP64", "mean": 1.0, "std": 2.0, "has_missing": False}
    target = {"name": "y", "datatype": "BOOL", "classes": [False, True], "mean": 0.0, "std": 1.0}
    made = Schema.from_dict({"features": [{**old, "categories": []}], "target": target})
    assert made.features == (Feature("x", "numeric", "FP64", 1.0, 2.0),)
    assert made.target.is_classes


def test_a_text_of_too_many_kinds_is_text_to_a_task_of_ones_own(make_project: Callable[..., Project]) -> None:
    texts = [f"customer {place}" for place in range(10_001)]
    table = pa.table({"x": texts, "label": [place % 2 for place in range(10_001)]})
    with pytest.raises(InvalidInput, match="column 'x' has 10001 different texts; 10000 are the most"):
        fit_schema(table, make_project())
    (found,) = fit_schema(table, make_project(task={"use": "own:Task"})).features
    assert (found.kind, found.categories) == ("text", ())


@pytest.mark.parametrize(
    ("table", "task", "said"),
    [
        (
            {"x": ["a"], "y": ["b"]},
            {"use": "sequence"},
            "task.use = 'sequence' reads one column, and there are 'x', 'y'",
        ),
        ({"x": [1]}, {"use": "sequence"}, "column 'x' has type int64, which no feature can have"),
        ({"x": [1]}, {"use": "image"}, "column 'x' has type int64, which no feature can have"),
        ({"x": ["a"]}, {"use": "forecast"}, "column 'x' has type string, which this task can't read"),
        ({"x": [[1]]}, {}, "column 'x' has type list<item: int64>, which no feature can have"),
        ({"x": [[1, 2]]}, {"use": "image", "params": {"shape": [3]}}, "it holds 3 numbers, but column 'x' has 2 a row"),
        ({"x": [[1, 2]]}, {"use": "image", "params": {"shape": "2"}}, "task.params.shape = '2': it must be a list of"),
        ({"x": [b"no"]}, {"use": "image"}, "column 'x' holds 2 bytes that are not a PNG or JPEG picture"),
        ({"x": ["%"]}, {"use": "image"}, "column 'x' holds '%', which is not the base64 of a picture"),
        ({"x": [""]}, {"use": "sequence", "params": {"tokens": "words"}}, "column 'x' has no word in the training"),
        ({"x": ["a"]}, {"use": "sequence", "params": {"tokens": "letters"}}, "it must be one of bytes, words"),
    ],
)
def test_what_a_task_can_not_read_is_refused(
    make_project: Callable[..., Project], table: dict[str, Any], task: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        fit_schema(pa.table({**table, "label": ["a"]}), make_project(task=task))
    assert said in str(error.value)
