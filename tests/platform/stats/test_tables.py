"""Every library's table, matrix and vector becomes the same columns; other shapes are refused with a sentence."""

from typing import Any

import array_api_strict
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import profile
from rayloop.platform.stats.tables import Columns, as_columns

MATRIX = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
REFERENCE = profile(MATRIX)


def counts(data: Any) -> dict[str, list[int]]:
    return {name: column.counts.tolist() for name, column in profile(data, REFERENCE).columns.items()}


@pytest.mark.parametrize(
    "data",
    [
        MATRIX,
        np.asfortranarray(MATRIX),
        MATRIX[::-1],
        MATRIX.astype(np.float32),
        MATRIX.astype(np.float16),
        MATRIX.astype(">f8"),
        MATRIX.astype(int),
        MATRIX.tolist(),
        torch.tensor(MATRIX),
        torch.tensor(MATRIX, requires_grad=True),
        torch.tensor(MATRIX, dtype=torch.bfloat16),
        torch.tensor(MATRIX).int(),
        {"0": MATRIX[:, 0], "1": torch.tensor(MATRIX[:, 1])},
        {"0": MATRIX[:, 0].tolist(), "1": tuple(MATRIX[:, 1])},
        {"0": pd.Series(MATRIX[:, 0], index=[7, 8, 9]), "1": pa.array(MATRIX[:, 1])},
        {0: pa.chunked_array([[1.0], [3.0, 5.0]]), 1: MATRIX[:, 1]},
        pd.DataFrame(MATRIX),
        pd.DataFrame(MATRIX, columns=["0", "1"]).convert_dtypes(),
        pa.table(list(MATRIX.T), names=["0", "1"]),
        pa.record_batch(list(MATRIX.T), names=["0", "1"]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_library_gives_the_same_counts(data: Any) -> None:
    assert counts(data) == {name: [0, 0, 1, 1, 1, 0, 0, 0, 0] for name in ("0", "1")}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (np.array([1.0, 2.0]), "0"),
        ([1.0, 2.0], "0"),
        (torch.tensor([1.0, 2.0]), "0"),
        (pa.array([1.0, 2.0]), "0"),
        (pa.chunked_array([[1.0, 2.0]]), "0"),
        (pd.Series([1.0, 2.0]), "0"),
        (pd.Series([1.0, 2.0], name="age"), "age"),
    ],
    ids=lambda data: type(data).__name__,
)
def test_a_vector_is_one_column(data: Any, name: str) -> None:
    found = profile(data)
    assert (list(found.columns), found.rows) == ([name], 2)


def test_nan_of_pandas_is_null_and_elsewhere_it_is_nan() -> None:
    values = [1.0, np.nan, np.inf, 3.0]
    frame = pd.DataFrame({"x": values, "n": np.array(values, np.float32), "s": ["a", None, np.nan, "b"]})
    found = profile(frame)
    assert [(column.nulls, column.nans) for column in found.columns.values()] == [(1, 0), (1, 0), (2, 0)]
    assert found.columns["x"].positive_infs == 1
    array = profile({"x": np.array(values)}).columns["x"]
    assert (array.nulls, array.nans) == (0, 1)
    arrow = profile(pa.table({"x": values})).columns["x"]
    assert (arrow.nulls, arrow.nans) == (0, 1)
    assert profile({"x": frame["x"]}).columns["x"].nulls == 1
    assert profile(frame["x"]).columns["x"].nulls == 1


def test_pandas_of_every_kind() -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", None],
            "category": pd.Categorical(["a", None]),
            "flag": pd.array([True, None], dtype="boolean"),
            "time": pd.to_datetime(["2024-01-01", None]),
            "zoned": pd.to_datetime(["2024-01-01", None], utc=True),
            "apart": pd.to_timedelta([1, None], unit="s"),
            "whole": pd.array([1, None], dtype="Int64"),
            "vector": [[1.0, 2.0], None],
        }
    )
    found = profile(frame)
    assert {name: column.binning.type for name, column in found.columns.items()} == {
        "text": "string",
        "category": "string",
        "flag": "boolean",
        "time": "timestamp",
        "zoned": "zoned timestamp",
        "apart": "duration",
        "whole": "integral",
        "vector": "vector",
    }
    assert {column.nulls for column in found.columns.values()} == {1}


def test_numpy_of_every_kind() -> None:
    found = profile(
        {
            "text": np.array(["a", "b"]),
            "object": np.array(["a", None], dtype=object),
            "flag": np.array([True, False]),
            "time": np.array(["2024-01-01", "NaT"], "M8[ns]"),
            "apart": np.array([1, 2], "m8[s]"),
            "masked": np.ma.array([1.0, 2.0], mask=[False, True]),
            "vector": np.zeros((2, 3), np.float32),
        }
    )
    assert [column.binning.type for column in found.columns.values()] == [
        "string",
        "string",
        "boolean",
        "timestamp",
        "duration",
        "fractional",
        "vector",
    ]
    assert [column.nulls for column in found.columns.values()] == [0, 1, 0, 1, 0, 1, 0]


def test_polars_comes_through_the_arrow_interface() -> None:
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    frame = polars.DataFrame(
        {
            "x": [1.0, None, float("nan")],
            "s": ["a", None, "b"],
            "c": polars.Series(["a", "b", None], dtype=polars.Categorical),
            "e": polars.Series(["a", "b", None], dtype=polars.Enum(["a", "b"])),
            "v": polars.Series([[1.0, 2.0], [3.0, 4.0], None], dtype=polars.Array(polars.Float32, 2)),
            "l": [[1], [2], None],
            "b": [True, None, False],
        }
    )
    found = profile(frame)
    assert {name: column.binning.kind for name, column in found.columns.items()} == {
        "x": "numeric",
        "s": "categorical",
        "c": "categorical",
        "e": "categorical",
        "v": "embedding",
        "l": "embedding",
        "b": "boolean",
    }
    assert {column.nulls for column in found.columns.values()} == {1}
    assert found.columns["x"].nans == 1
    again = profile(frame.reverse(), found)
    for name, column in found.columns.items():
        assert again.columns[name].counts.tolist() == column.counts.tolist()
    assert list(profile(polars.Series("age", [1.0])).columns) == ["age"]
    assert profile({"x": polars.Series([1.0, None])}).columns["x"].nulls == 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.zeros((2, 2, 2)), "the data has 3 axes"),
        (np.zeros(()), "the data has 0 axes"),
        ({"x": np.zeros(())}, r"column 'x' has the shape \(\)"),
        ({"x": np.zeros((2, 2, 2))}, "column 'x' has the shape"),
        ({"x": np.zeros((2, 0))}, "column 'x' has the shape"),
        ({"x": np.zeros(2), "y": np.zeros(3)}, r"the columns have \[2, 3\] rows"),
        ({"x": 1.0}, "the data is a float"),
        ({"x": np.array([1, "a"], dtype=object)}, "column 'x' of object cannot be read"),
        ({"x": np.array([1j])}, "column 'x' of complex128 cannot be read"),
        (pd.DataFrame({"x": [1, "a"]}), "column 'x' cannot be read"),
        (pd.DataFrame({"x": [1j]}), "column 'x' cannot be read"),
        ([[1.0, 2.0], [3.0]], "the rows of a list have different lengths"),
        ("a.parquet", "the data is a str"),
        (None, "the data is a NoneType"),
        ({1.0, 2.0}, "the data is a set"),
        (array_api_strict.asarray([1.0]), "the data is a Array"),
    ],
    ids=str,
)
def test_other_shapes_are_refused(data: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        profile(data)


def test_columns_are_taken_as_they_are() -> None:
    columns = Columns(pa.table({"x": [1.0]}))
    assert as_columns(columns) is columns
    assert columns.rows == 1


def test_some_columns_of_a_table() -> None:
    assert list(profile({"a": [1.0], "b": [2.0]}, columns=["b"]).columns) == ["b"]
    reference = profile({"a": [1.0], "b": [2.0]})
    assert list(profile({"b": [2.0]}, reference, columns=["b"]).columns) == ["b"]
    with pytest.raises(InvalidInput, match="column 'c' is not in the reference's profile"):
        profile({"c": [2.0]}, reference, columns=["c"])


def test_no_rows_and_no_columns() -> None:
    assert profile(np.zeros((0, 2))).rows == 0
    assert profile(pa.table({"x": pa.array([], pa.string())})).columns["x"].counts.tolist() == [0, 0]
    assert profile({}).columns == {}
