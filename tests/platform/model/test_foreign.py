"""What a foreign model's description must say, how its params are checked, and which example is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.foreign import _example_columns, check_description, checked_params, load_foreign
from rayloop.platform.model.foreign_schema import read_inputs

# MLflow warns whoever saves a Python object, or one without an example.
pytestmark = pytest.mark.filterwarnings("ignore:.*(input example|[Tt]ype hint).*:UserWarning")

FRAME = pd.DataFrame({"a": [1.0]})
DECLARED = ParamSchema(
    [ParamSpec("top", "long", 5), ParamSpec("heat", "double", 1.0), ParamSpec("stop", "string", ["."], shape=(-1,))]
)


def describe(folder: Path, **values: Any) -> Path:
    model = Model(**values)
    model.add_flavor("python_function", loader_module="nowhere.at_all")
    model.save(str(folder / "MLmodel"))
    return folder


def test_a_model_without_a_signature_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"log it with `signature=mlflow.models.infer_signature\(inputs, outputs\)`"):
        check_description(describe(tmp_path))
    with pytest.raises(InvalidInput, match="the model has no signature"):
        check_description(describe(tmp_path, signature=infer_signature(params={"a": 1})))


def test_a_model_that_is_no_pyfunc_is_refused(tmp_path: Path) -> None:
    model = Model(signature=infer_signature(FRAME))
    model.add_flavor("spark", model_data="x")
    model.save(str(tmp_path / "MLmodel"))
    with pytest.raises(InvalidInput, match="no flavor 'python_function', by which it is asked; it has spark"):
        check_description(tmp_path)
    (tmp_path / "MLmodel").write_text("{")
    with pytest.raises(InvalidInput, match="MLmodel is damaged"):
        check_description(tmp_path)


def test_what_cannot_be_served_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    schema = Schema([ColSpec("datetime", "at")])
    signature = infer_signature(FRAME)
    signature.inputs = schema
    with pytest.raises(InvalidInput, match="input 'at' has the MLflow type datetime"):
        load_foreign(describe(tmp_path, signature=signature))
    signature = infer_signature(FRAME, np.zeros((1, 2, 2)))
    with pytest.raises(InvalidInput, match=r"output 'prediction' is a tensor of shape \[-1, 2, 2\]"):
        load_foreign(describe(tmp_path, signature=signature))


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be loaded here: ModuleNotFoundError: No module named 'nowhere'"):
        load_foreign(describe(tmp_path, signature=infer_signature(FRAME)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({}, None),
        ({"top": 3}, {"top": 3}),
        ({"heat": 2}, {"heat": 2.0}),
        ({"stop": ["a", "b"], "top": 1}, {"stop": ["a", "b"], "top": 1}),
    ],
)
def test_declared_params_are_let_through(given: Any, expected: Any) -> None:
    assert checked_params(given, DECLARED) == expected


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tops": 3}, "declares no parameter 'tops'; declared: top, heat, stop"),
        ({"top": 1.5}, "parameter 'top' must be long"),
        ({"top": [1]}, "parameter 'top' must be long"),
        ({"stop": "a"}, "parameter 'stop' must be a list of string"),
    ],
)
def test_other_params_are_refused(given: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        checked_params(given, DECLARED)
    with pytest.raises(InvalidInput, match=r"declares no parameter '\w+'; declared: none"):
        checked_params(given, None)


TWO = Schema([ColSpec("string", "t"), ColSpec("double", "n", required=False)])


@pytest.mark.parametrize(
    "example",
    [
        pd.DataFrame({"n": [1.0, 2.0], "t": ["a", "b"]}),
        [{"t": "a", "n": 1.0}, {"t": "b", "n": 2.0}],
        {"t": ["a", "b"], "n": [1, 2]},
        {"t": np.array(["a", "b"]), "n": np.array([1, 2])},
    ],
)
def test_an_example_of_any_form_becomes_columns(example: Any) -> None:
    found = _example_columns(example, read_inputs(TWO))
    assert {name: values.tolist() for name, values in found.items()} == {"t": ["a", "b"], "n": [1.0, 2.0]}
    assert found["n"].dtype == np.float64


def test_an_example_may_lack_a_number_that_may_be_nan() -> None:
    found = _example_columns({"t": "a"}, read_inputs(TWO))
    assert (found["t"].tolist(), np.isnan(found["n"]).tolist()) == (["a"], [True])
    whole = read_inputs(Schema([ColSpec("string", "t"), ColSpec("long", "n")]))
    with pytest.raises(ValueError, match="column 'n' lacks values"):
        _example_columns({"t": "a"}, whole)
    with pytest.raises(ValueError, match="column 't' lacks values"):
        _example_columns(pd.DataFrame({"t": [], "n": []}), whole)


def test_examples_without_names_and_of_tensors() -> None:
    nameless = read_inputs(Schema([ColSpec(DataType.double), ColSpec(DataType.double)]))
    assert _example_columns(np.array([[1, 2], [3, 4]]), nameless)["1"].tolist() == [2.0, 4.0]
    assert _example_columns("hello", read_inputs(Schema([ColSpec("string")])))["x"].tolist() == ["hello"]
    named = read_inputs(
        Schema([TensorSpec(np.dtype("float32"), (-1, 2), "p"), TensorSpec(np.dtype("int64"), (-1, 1), "q")])
    )
    found = _example_columns({"p": [[1, 2], [3, 4]], "q": [[5], [6]]}, named)
    assert (found["p"].dtype, found["p"].tolist(), found["q"].tolist()) == (np.float32, [[1, 2], [3, 4]], [5, 6])
    with pytest.raises(ValueError, match="cannot reshape"):
        _example_columns({"p": [[1, 2, 3]], "q": [[5]]}, named)


def test_named_tensors_reach_the_model_in_their_shapes(tmp_path: Path) -> None:
    class Sums(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input, params=None):
            assert (model_input["p"].shape[1], model_input["q"].shape[1]) == (2, 1)
            return {"total": model_input["p"].sum(axis=1) + model_input["q"][:, 0], "p": model_input["p"]}

    given = {"p": np.ones((2, 2), dtype="float32"), "q": np.ones((2, 1), dtype="int64")}
    outputs = {"total": np.ones(2), "p": np.ones((2, 2))}
    signature = infer_signature(given, outputs)
    folder = tmp_path / "sums"
    mlflow.pyfunc.save_model(str(folder), python_model=Sums(), signature=signature, pip_requirements=["mlflow"])
    model = load_foreign(folder)
    found = model.predict({"p": np.array([[1, 2]], dtype="float32"), "q": np.array([4])})
    assert {name: values.tolist() for name, values in found.items()} == {"total": [7.0], "p": [[1.0, 2.0]]}
    assert {name: values.tolist() for name, values in model.example(1).items()} == {"p": [[0.0, 0.0]], "q": [0]}
