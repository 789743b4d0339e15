"""MLflow's clients against the edge, and every body that its own helpers write for a scoring server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import requests

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.deployments
    from mlflow.deployments import PredictionsResponse
    from mlflow.models import convert_input_example_to_serving_input
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

# MLflow compares columns with a range, which pandas is about to read otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")

FRAME = pd.DataFrame(
    {
        "number": np.array([0.5, np.nan], np.float32),
        "text": pd.Series(["köln", "b"], dtype=object),
        "whole": np.array([3, 30]),
        "flag": [True, False],
    }
)
ANSWER = [{"double": 1.0, "shout": "KÖLN", "is_big": True}, {"double": None, "shout": "B", "is_big": True}]
TABLE = pd.DataFrame({"a": [0.5, 0.0], "b": [0.25, 0.0], "c": [1.0, 0.0]})
PREDICTED = [{"prediction": 1, "p": [0.0, 1.0]}, {"prediction": 0, "p": [1.0, 0.0]}]


@pytest.fixture
def client(front: Any) -> Iterator[Any]:
    return mlflow.deployments.get_deploy_client(front.url)


def score(front: Any, model: str, body: str) -> Any:
    answer = httpx.post(
        f"{front.url}/mlflow/{model}/invocations", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    return answer


def test_the_deployments_client_lists_and_asks(client: Any, front: Any) -> None:
    assert [endpoint.name for endpoint in client.list_endpoints()] == ["also", "m", "page", "table", "words"]
    found = client.get_endpoint("m")
    assert (found.name, found.endpoint_url) == ("m", f"{front.url}/endpoints/m/invocations")
    given = {"dataframe_split": TABLE.to_dict(orient="split")}
    assert client.predict(endpoint="table", inputs=given) == {"predictions": PREDICTED}
    row = {"number": 1, "text": "a", "whole": 1, "flag": 0}
    assert client.predict(endpoint="also", inputs={"dataframe_records": [row]})["predictions"][0]["shout"] == "A"


def test_what_the_deployments_client_may_not_is_a_sentence(client: Any) -> None:
    with pytest.raises(requests.HTTPError, match="is not served here"):
        client.get_endpoint("nobody")
    with pytest.raises(requests.HTTPError, match="must have exactly one"):
        client.predict(endpoint="m", inputs={"messages": []})


def test_the_deployments_client_with_a_token(client: Any, front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with front.closed() as token:
        with pytest.raises(requests.HTTPError, match="a token is needed"):
            client.list_endpoints()
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
        assert len(client.list_endpoints()) == 5


@pytest.mark.parametrize("model", ["table", "m"])
def test_the_scoring_server_s_client(front: Any, model: str) -> None:
    host, port = front.host.split(":")
    client = ScoringServerClient(host, f"{port}/mlflow/{model}")
    client.ping()
    assert client.get_version() == mlflow.__version__
    frame = TABLE if model == "table" else FRAME.fillna({"number": 1.5})
    read = client.invoke(frame).get_predictions()
    assert list(read.columns) == (["prediction", "p"] if model == "table" else ["double", "shout", "is_big"])
    assert len(read) == 2


@pytest.mark.parametrize(
    "example",
    [
        TABLE,
        TABLE.to_numpy(),
        TABLE.to_numpy().tolist(),
        TABLE.to_dict(orient="records"),
        {name: TABLE[name].to_numpy() for name in "abc"},
        {name: TABLE[name].tolist() for name in "abc"},
        TABLE.astype(np.float32),
        TABLE.iloc[:, ::-1],
    ],
    ids=["frame", "matrix", "lists", "records", "arrays", "columns", "float32", "reversed"],
)
def test_every_example_becomes_a_body_that_is_answered(front: Any, example: Any) -> None:
    body = convert_input_example_to_serving_input(example)
    assert score(front, "table", body).json() == {"predictions": PREDICTED}


def test_a_frame_of_many_types(front: Any) -> None:
    answer = score(front, "m", convert_input_example_to_serving_input(FRAME))
    assert answer.json() == {"predictions": ANSWER}
    read = PredictionsResponse.from_json(answer.text).get_predictions()
    assert read["shout"].tolist() == ["KÖLN", "B"]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": FRAME.fillna(1).to_dict(orient="records")},
        {"inputs": FRAME.fillna(1).to_dict(orient="list")},
        {"dataframe_split": FRAME.fillna(1).to_dict(orient="split"), "params": {"temperature": 1}},
        {"dataframe_split": {key: FRAME.fillna(1).to_dict(orient="split")[key] for key in ("columns", "data")}},
    ],
    ids=["instances", "inputs", "split", "split without an index"],
)
def test_bodies_written_by_hand(front: Any, body: Any) -> None:
    answers = score(front, "m", json.dumps(body)).json()["predictions"]
    assert [answer["shout"] for answer in answers] == ["KÖLN", "B"]


def test_csv_as_pandas_writes_it(front: Any) -> None:
    headers = {"content-type": "text/csv; charset=utf-8"}
    answer = httpx.post(f"{front.url}/mlflow/m/invocations", content=FRAME.to_csv(index=False), headers=headers)
    assert answer.json() == {"predictions": ANSWER}
