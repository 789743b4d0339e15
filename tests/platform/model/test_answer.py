"""Whatever a model answers comes out as the promised columns, or is no answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from rayloop.platform.model.answer import answer_columns, described_answer
from rayloop.platform.model.signature import ColumnSpec

TWO = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("answer", "names", "expected"),
    [
        (np.array([1, 2]), ["prediction"], {"prediction": [1, 2]}),
        (np.array(["a", "bc"]), ["y"], {"y": ["a", "bc"]}),
        ([1.5, 2.5], ["y"], {"y": [1.5, 2.5]}),
        (["a", "b"], ["y"], {"y": ["a", "b"]}),
        ([[1.0, 2.0], [3.0, 4.0]], ["y"], {"y": [[1.0, 2.0], [3.0, 4.0]]}),
        (TWO, ["y"], {"y": TWO.tolist()}),
        (TWO, ["a", "b"], {"a": [1.0, 3.0], "b": [2.0, 4.0]}),
        (pd.Series([1, 2], name="q"), ["prediction"], {"prediction": [1, 2]}),
        (pd.Series(["a", "b"]), ["y"], {"y": ["a", "b"]}),
        (pd.Series(["a", "b"], dtype="category"), ["y"], {"y": ["a", "b"]}),
        (pd.DataFrame({"b": [1, 2], "a": [3, 4], "c": [5, 6]}), ["a", "b"], {"a": [3, 4], "b": [1, 2]}),
        (pd.DataFrame({"other": [1, 2]}), ["prediction"], {"prediction": [1, 2]}),
        (pd.DataFrame(TWO), ["a", "b"], {"a": [1.0, 3.0], "b": [2.0, 4.0]}),
        (pd.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0]]}), ["v"], {"v": TWO.tolist()}),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], ["b", "a"], {"b": ["x", "y"], "a": [1, 2]}),
        ({"a": np.array([1, 2]), "b": TWO}, ["b", "a"], {"b": TWO.tolist(), "a": [1, 2]}),
    ],
)
def test_an_answer_is_brought_to_its_names(answer: Any, names: list[str], expected: dict[str, Any]) -> None:
    found = answer_columns(answer, names)
    assert {name: values.tolist() for name, values in found.items()} == expected
    assert list(found) == names


def test_missing_numbers_are_nan_and_text_is_pythons() -> None:
    found = answer_columns(pd.DataFrame({"n": [1.5, None], "t": ["a", "b"]}, dtype=object), ["n", "t"])
    assert (found["n"].dtype, found["t"].dtype) == (np.float64, np.dtype(object))
    assert np.isnan(found["n"][1])
    assert [type(value) for value in found["t"]] == [str, str]


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (pd.DataFrame({"a": [1], "b": [2]}), ["a", "c"]),
        (pd.DataFrame({"a": [1], "b": [2]}), ["prediction"]),
        (np.zeros((2, 3)), ["a", "b"]),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a"]),
        ([[1.0], [1.0, 2.0]], ["y"]),
    ],
)
def test_another_answer_than_promised_is_none(answer: Any, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"the model gave|inhomogeneous"):
        answer_columns(answer, names)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (np.zeros((2, 3), dtype="float32"), [ColumnSpec("prediction", "FP32", 3)]),
        (["a", "b"], [ColumnSpec("prediction", "BYTES")]),
        (pd.DataFrame({"n": [1, 2], "ok": [True, False]}), [ColumnSpec("n", "INT64"), ColumnSpec("ok", "BOOL")]),
        (pd.DataFrame([[1], [2]]), [ColumnSpec("prediction", "INT64")]),
        (pd.DataFrame(TWO), [ColumnSpec("prediction_0", "FP64"), ColumnSpec("prediction_1", "FP64")]),
    ],
)
def test_an_answer_tells_its_columns(answer: Any, expected: list[ColumnSpec]) -> None:
    assert list(described_answer(answer, 2)) == expected


@pytest.mark.parametrize("answer", [np.zeros(3), np.zeros((2, 2, 2)), 7.0, None, np.zeros(2, dtype=complex)])
def test_what_cannot_be_served_is_said(answer: Any) -> None:
    with pytest.raises(ValueError, match="output 'prediction'"):
        described_answer(answer, 2)
