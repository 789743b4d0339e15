"""Models of other MLflow flavors, saved and loaded for real, through the application in all protocols."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import orjson
import pandas as pd
import pyarrow.dataset as ds
import pytest
from mlflow.models import ModelSignature, infer_signature
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.folder import folder_sha256
from rayloop.platform.model.predictor import load_predictor
from rayloop.platform.model.signature import ColumnSpec, Servable
from rayloop.serve.application import VersionApplication
from rayloop.serve.capture import Capture
from rayloop.serve.protocol.binary import LENGTH_HEADER
from rayloop.serve.service import VersionService
from rayloop.serve.warm_up import Unusable, warm_up
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

SECRET = "only-the-edge-knows"
PEOPLE = pd.DataFrame({"age": [20.0, 30.0, 60.0, 70.0], "city": ["Bern", "Köln", "Bern", "Ulm"], "kids": [0, 1, 2, 3]})
LABELS = np.array(["no", "no", "yes", "yes"], dtype=object)


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow warns of pickles, hints and whole numbers while it saves; that is for whoever saves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def described(*arguments: Any, **options: Any) -> ModelSignature:
    with quiet():
        return infer_signature(*arguments, **options)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(model: Any, flavor: Any = mlflow.sklearn, **options: Any) -> Path:
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        key = {"mlflow.pyfunc": "python_model", "mlflow.sklearn": "sk_model"}.get(flavor.__name__, "xgb_model")
        with quiet():
            flavor.save_model(path=str(folder), **{key: model}, pip_requirements=["mlflow"], **options)
        return folder

    return save


def load(folder: Path) -> Servable:
    return load_predictor(str(folder), folder_sha256(folder))


def ask(
    application: VersionApplication, path: str, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    return asyncio.run(_ask(application, path, body, headers))


async def _ask(application: VersionApplication, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    sent: list[Any] = []
    content = body if isinstance(body, bytes) else orjson.dumps(body)

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"x-rayloop-secret": SECRET, "content-type": "application/json", **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    method = "POST" if content != b"null" else "GET"
    await application({"type": "http", "method": method, "path": path, "headers": pairs}, receive, send)
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    raw = sent[1]["body"]
    return sent[0]["status"], orjson.loads(raw) if got["content-type"] == "application/json" else raw, got


@pytest.fixture
def serve() -> Iterator[Callable[..., VersionApplication]]:
    opened: list[VersionApplication] = []

    def serve(model: Servable, capture: Capture | None = None) -> VersionApplication:
        opened.append(VersionApplication(VersionService("m", 3, model, SECRET, capture, platform="mlflow")))
        return opened[-1]

    yield serve
    for application in opened:
        application.close()


@pytest.fixture
def people() -> Pipeline:
    """A pipeline that reads a text column by its name."""
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=2000))
    return pipeline.fit(PEOPLE, LABELS)


def test_a_pipeline_of_text_and_numbers_answers_in_every_protocol(
    people: Pipeline, save: Callable[..., Path], serve: Callable[..., VersionApplication], tmp_path: Path
) -> None:
    folder = save(people, signature=described(PEOPLE, people.predict(PEOPLE)), input_example=PEOPLE)
    model = load(folder)
    assert model.signature.inputs == (
        ColumnSpec("age", "FP64"),
        ColumnSpec("city", "BYTES"),
        ColumnSpec("kids", "INT64"),
    )
    assert model.signature.outputs == (ColumnSpec("prediction", "BYTES"),)
    assert model.example_source == "saved"
    assert model.example(6)["city"].tolist() == ["Bern", "Köln", "Bern", "Ulm", "Bern", "Köln"]
    warm_up(model)
    application = serve(model, Capture("m", 3, model.signature, str(tmp_path / "capture")))
    asked = PEOPLE.iloc[[3, 0]]
    expected = people.predict(asked).tolist()
    assert expected == ["yes", "no"]
    tensors = [
        {"name": "age", "shape": [2], "datatype": "FP64", "data": asked["age"].tolist()},
        {"name": "city", "shape": [2], "datatype": "BYTES", "data": asked["city"].tolist()},
        {"name": "kids", "shape": [2], "datatype": "INT64", "data": asked["kids"].tolist()},
    ]
    status, answer, headers = ask(application, "/v2/models/m/infer", {"inputs": tensors})
    assert (status, headers["x-rayloop-version"]) == (200, "3")
    assert answer["outputs"] == [{"name": "prediction", "shape": [2], "datatype": "BYTES", "data": expected}]
    records = asked.to_dict("records")
    assert ask(application, "/v1/models/m:predict", {"instances": records})[1] == {"predictions": expected}
    split = {"columns": list(asked), "data": asked.to_numpy().tolist()}
    scored = {"predictions": [{"prediction": value} for value in expected]}
    assert ask(application, "/mlflow/m/invocations", {"dataframe_split": split})[1] == scored
    csv = asked.to_csv(index=False).encode()
    assert ask(application, "/mlflow/m/invocations", csv, {"content-type": "text/csv"})[1] == scored
    assert ask(application, "/v2/models/m", None)[1]["platform"] == "mlflow"
    application.close()
    captured = ds.dataset(tmp_path / "capture").to_table().to_pandas()
    assert captured["input.city"].tolist() == ["Ulm", "Bern"] * 4
    assert captured["output.prediction"].tolist() == expected * 4


def test_probabilities_come_as_one_wide_output_and_in_binary(
    people: Pipeline, save: Callable[..., Path], serve: Callable[..., VersionApplication]
) -> None:
    signature = described(PEOPLE, people.predict_proba(PEOPLE))
    model = load(save(people, signature=signature, pyfunc_predict_fn="predict_proba"))
    assert model.signature.outputs == (ColumnSpec("prediction", "FP64", 2),)
    warm_up(model)  # on invented rows, which this pipeline can answer
    application = serve(model)
    expected = people.predict_proba(PEOPLE)
    body = {"instances": PEOPLE.to_dict("records")}
    assert ask(application, "/v1/models/m:predict", body)[1]["predictions"] == pytest.approx(expected)
    tensors = [
        {"name": name, "shape": [4, 1], "datatype": datatype, "data": PEOPLE[name].tolist()}
        for name, datatype in (("city", "BYTES"), ("kids", "INT64"), ("age", "FP32"))
    ]
    wanted = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    _, raw, headers = ask(application, "/v2/models/m/infer", wanted)
    found = np.frombuffer(raw[int(headers[LENGTH_HEADER]) :], dtype="<f8").reshape(4, 2)
    assert found == pytest.approx(expected)


def test_a_regression_takes_one_matrix_and_the_outputs_are_found_by_asking(
    save: Callable[..., Path], serve: Callable[..., VersionApplication]
) -> None:
    frame = pd.DataFrame({"b": [1.0, 2.0, 3.0], "a": [0.0, 1.0, 0.0]})
    fitted = LinearRegression().fit(frame, [2.0, 7.0, 6.0])
    model = load(save(fitted, signature=described(frame)))
    assert model.signature.outputs == (ColumnSpec("prediction", "FP64"),)
    assert model.example_source == "invented"
    body = {"inputs": [{"name": "any", "shape": [1, 2], "datatype": "FP32", "data": [10, 1]}]}
    answer = ask(serve(model), "/v2/models/m/infer", body)[1]
    assert answer["outputs"][0]["data"] == pytest.approx(fitted.predict(frame.assign(b=10.0, a=1.0))[:1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tensor_signature_is_one_column_of_its_width(
    dtype: str, save: Callable[..., Path], serve: Callable[..., VersionApplication]
) -> None:
    rows = np.arange(12, dtype=dtype).reshape(4, 3)
    fitted = LinearRegression().fit(rows, rows.sum(axis=1))
    model = load(save(fitted, signature=described(rows, fitted.predict(rows)), input_example=rows[:2]))
    datatype = {"float32": "FP32", "float64": "FP64"}[dtype]
    assert model.signature.inputs == (ColumnSpec("x", datatype, 3),)
    assert model.example(3)["x"].tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]
    warm_up(model)
    application = serve(model)
    body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]}
    assert ask(application, "/v2/models/m/infer", body)[1]["outputs"][0]["data"] == pytest.approx([6, 15])
    given = {"inputs": [[1, 2, 3], [4, 5, 6]]}
    predictions = ask(application, "/mlflow/m/invocations", given)[1]["predictions"]
    assert [row["prediction"] for row in predictions] == pytest.approx([6, 15])


class Scaled(mlflow.pyfunc.PythonModel):
    """Multiplies; fails on a row of zeros, and answers with a frame of two columns."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        if (model_input["v"] == 0).any():
            raise ZeroDivisionError("a zero")
        factor = (params or {}).get("factor", 1.0)
        calls.append(len(model_input))
        return pd.DataFrame({"scaled": model_input["v"] * factor, "name": [f"{v:g}" for v in model_input["v"]]})


calls: list[int] = []
FRAME = pd.DataFrame({"v": [1.0, 2.5]})
NAMED = described(FRAME, pd.DataFrame({"scaled": [1.0], "name": ["x"]}), params={"factor": 1.0})


def test_a_python_model_answers_named_columns_and_takes_declared_params(
    save: Callable[..., Path], serve: Callable[..., VersionApplication]
) -> None:
    application = serve(load(save(Scaled(), mlflow.pyfunc, signature=NAMED)))
    body = {"dataframe_records": FRAME.to_dict("records")}
    plain = ask(application, "/mlflow/m/invocations", body)
    assert plain[1] == {"predictions": [{"scaled": 1.0, "name": "1"}, {"scaled": 2.5, "name": "2.5"}]}
    scaled = ask(application, "/mlflow/m/invocations", {**body, "params": {"factor": 10}})
    assert [row["scaled"] for row in scaled[1]["predictions"]] == [10.0, 25.0]
    status, answer, _ = ask(application, "/mlflow/m/invocations", {**body, "params": {"faktor": 10}})
    assert (status, answer["error"]) == (400, "the model declares no parameter 'faktor'; declared: factor")
    status, answer, _ = ask(application, "/mlflow/m/invocations", {**body, "params": {"factor": "ten"}})
    assert (status, answer["error"]) == (400, "parameter 'factor' must be double")
    status, answer, _ = ask(application, "/mlflow/m/invocations", {"dataframe_records": [{"v": 0}]})
    assert (status, answer["error"]) == (500, "the model failed: ZeroDivisionError")


def test_only_requests_of_equal_params_are_answered_together(
    save: Callable[..., Path], serve: Callable[..., VersionApplication]
) -> None:
    application = serve(load(save(Scaled(), mlflow.pyfunc, signature=NAMED)))
    factors = [1.0, 1.0, 2.0, 2.0, None, None, 1.0]

    async def ask_all() -> list[Any]:
        bodies = [
            {"dataframe_records": [{"v": 3}]} | ({} if factor is None else {"params": {"factor": factor}})
            for factor in factors
        ]
        return await asyncio.gather(*(_ask(application, "/mlflow/m/invocations", body) for body in bodies))

    calls.clear()
    answers = asyncio.run(ask_all())
    assert [answer[1]["predictions"][0]["scaled"] for answer in answers] == [3 * (factor or 1) for factor in factors]
    assert sum(calls) == 7


def test_rows_that_were_made_up_prove_nothing_and_the_own_example_does(
    save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    model = load(save(Scaled(), mlflow.pyfunc, signature=NAMED))
    warm_up(model)
    assert "made-up rows" in caplog.text
    assert "ZeroDivisionError: a zero" in caplog.text
    warm_up(load(save(Scaled(), mlflow.pyfunc, signature=NAMED, input_example=FRAME)))
    zeros = save(Scaled(), mlflow.pyfunc, signature=NAMED, input_example=FRAME * 0)
    with pytest.raises(Unusable, match="fails on 1 rows of its own example: ZeroDivisionError: a zero"):
        warm_up(load(zeros))
    with pytest.raises(InvalidInput, match="it can't be asked: on a row of zeros and empty texts it fails with Zero"):
        load(save(Scaled(), mlflow.pyfunc, signature=described(FRAME)))


def test_a_promise_that_the_own_example_breaks_is_found(people: Pipeline, save: Callable[..., Path]) -> None:
    signature = described(PEOPLE, people.predict(PEOPLE))
    folder = save(people, signature=signature, input_example=PEOPLE, pyfunc_predict_fn="predict_proba")
    with pytest.raises(Unusable, match=r"output 'prediction' has shape \(1, 2\), promised was \(1,\)"):
        warm_up(load(folder))


def test_a_model_that_takes_texts_alone(save: Callable[..., Path], serve: Callable[..., VersionApplication]) -> None:
    class Loud(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
            return [text.upper() for text in model_input]

    model = load(save(Loud(), mlflow.pyfunc, input_example=["a", "b"]))
    assert model.signature.inputs == (ColumnSpec("x", "BYTES"),)
    warm_up(model)
    assert ask(serve(model), "/v1/models/m:predict", {"instances": ["a", "ö"]})[1] == {"predictions": ["A", "Ö"]}


def test_null_is_nan_for_an_optional_number(
    save: Callable[..., Path], serve: Callable[..., VersionApplication]
) -> None:
    class Gaps(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.Series:
            return model_input["v"].isna()

    frame = pd.DataFrame({"v": [1.0, np.nan]})
    model = load(save(Gaps(), mlflow.pyfunc, signature=described(frame, pd.Series([True]))))
    answer = ask(serve(model), "/v1/models/m:predict", {"instances": [{"v": 1}, {"v": None}]})[1]
    assert answer == {"predictions": [False, True]}


def test_xgboost(save: Callable[..., Path], serve: Callable[..., VersionApplication]) -> None:
    xgboost = pytest.importorskip("xgboost")
    import mlflow.xgboost

    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 3)).astype("float32"), columns=["a", "b", "c"])
    target = frame["a"] - 2 * frame["c"]
    with quiet():
        fitted = xgboost.XGBRegressor(n_estimators=5).fit(frame, target)
        signature = described(frame, fitted.predict(frame))
    model = load(save(fitted, mlflow.xgboost, signature=signature, input_example=frame[:3]))
    warm_up(model)
    body = {"inputs": [{"name": "x", "shape": [60, 3], "datatype": "FP32", "data": frame.to_numpy().tolist()}]}
    answer = ask(serve(model), "/v2/models/m/infer", body)[1]
    assert answer["outputs"][0]["datatype"] == "FP32"
    assert answer["outputs"][0]["data"] == pytest.approx(fitted.predict(frame))
