"""A scikit-learn model, logged to the live MLflow, on an endpoint of its own: deployed, asked, split, rolled back."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from pathlib import Path

import httpx
import mlflow
import mlflow.sklearn
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from .conftest import Live, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.live]

NAME = "iris"


@pytest.fixture(scope="module")
def flowers() -> tuple[pd.DataFrame, pd.Series]:
    bunch = load_iris(as_frame=True)
    return bunch.data, pd.Series(bunch.target_names[bunch.target], name="species")


@pytest.fixture(scope="module")
def registered(live: Live, flowers: tuple[pd.DataFrame, pd.Series]) -> list[LogisticRegression]:
    """Two versions of a registered model: the first is hardly fitted, the second well."""
    rows, species = flowers
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(live.settings.tracking_uri)
    models = [LogisticRegression(C=strength, max_iter=5000).fit(rows, species) for strength in (1e-6, 1.0)]
    try:
        with warnings.catch_warnings(), mlflow.start_run():
            warnings.simplefilter("ignore")
            for model in models:
                mlflow.sklearn.log_model(
                    model,
                    name="model",
                    signature=infer_signature(rows, model.predict(rows)),
                    input_example=rows[:3],
                    registered_model_name=NAME,
                    pip_requirements=["scikit-learn"],
                )
    finally:
        mlflow.set_tracking_uri(before)
    return models


def test_a_registered_model_is_served_split_and_rolled_back(
    live: Live, registered: list[LogisticRegression], flowers: tuple[pd.DataFrame, pd.Series], tmp_path: Path
) -> None:
    rows, _ = flowers
    printed = live.run("deploy", NAME, "--model", f"models:/{NAME}/1", "--cpus", "0.25", cwd=tmp_path)
    assert "iris v1 has all traffic" in printed
    answer = _ask(live, rows)
    assert answer.status_code == 200
    assert (answer.json()["model_name"], answer.json()["model_version"]) == (NAME, "1")
    assert answer.json()["outputs"][0]["data"] == registered[0].predict(rows).tolist()
    assert "iris v2 is up" in live.run("deploy", NAME, "--model", f"models:/{NAME}/2", "--cpus", "0.25", cwd=tmp_path)
    expected = registered[1].predict(rows).tolist()
    assert expected != registered[0].predict(rows).tolist()
    pinned = f"/v2/models/{NAME}/versions/2/infer"
    # A connection that the edge keeps open may still lead to Serve's proxy as it was before the new route.
    wait_until(lambda: _ask(live, rows, pinned).status_code == 200, 20, "the new version is known everywhere")
    assert _ask(live, rows, pinned).json()["outputs"][0]["data"] == expected
    assert "v2 50 %, v1 50 %" in live.run("split", NAME, "1=50", "2=50", cwd=tmp_path)
    wait_until(lambda: _ask(live, rows).headers["x-rayloop-revision"] == "2", 5, "the edge takes the split")
    counted = Counter(_ask(live, rows[:1]).headers["x-rayloop-version"] for _ in range(200))
    assert 60 < counted["2"] < 140  # 100 expected, 7 a standard deviation
    assert "v2 100 %" in live.run("split", NAME, "2=100", cwd=tmp_path)
    wait_until(lambda: _ask(live, rows).headers["x-rayloop-version"] == "2", 5, "all traffic is on 2")
    scored = httpx.post(
        f"{live.settings.edge_url}/mlflow/{NAME}/invocations",
        json={"dataframe_split": {"columns": list(rows), "data": rows.to_numpy().tolist()}},
    )
    assert [row["prediction"] for row in scored.json()["predictions"]] == expected
    assert f"models:/{NAME}/2" in live.run("versions", NAME, cwd=tmp_path)
    assert "iris: v2 100 %" in live.run("status", cwd=tmp_path)
    assert "v1 100 %" in live.run("rollback", NAME, cwd=tmp_path)
    wait_until(lambda: _ask(live, rows).headers["x-rayloop-version"] == "1", 5, "the edge rolls back")
    live.run("undeploy", NAME, "2", cwd=tmp_path)
    folder = Path(live.workspace.capture_folder) / f"endpoint={NAME}"
    wait_until(lambda: folder.exists() and len(pd.read_parquet(folder)) > 500, 10, "answers are captured")
    assert set(pd.read_parquet(folder)["version"].astype(int)) == {1, 2}
    assert "unchanged" in live.run("ledger", "verify", cwd=tmp_path)


def test_what_the_replica_may_not_load_is_refused_in_one_sentence(
    live: Live, registered: list[LogisticRegression], tmp_path: Path
) -> None:
    printed = live.run("deploy", NAME, "--model", f"models:/{NAME}/9", cwd=tmp_path, expect=3)
    assert printed == "error: model 'iris' has no version 9; it has 1, 2\n"
    location = live.workspace.registry.location(NAME, 2).removeprefix("file://")
    broken = tmp_path / "broken"
    shutil.copytree(location, broken)
    (broken / "model.skops").write_bytes(b"no zip at all")
    printed = live.run("deploy", "broken", "--model", str(broken), cwd=tmp_path, expect=1)
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "broken v1 can't be served: " in error
    assert "the model can't be loaded here: " in error
    assert live.workspace.endpoints.deployments("broken") == []


def _ask(live: Live, rows: pd.DataFrame, path: str = f"/v2/models/{NAME}/infer") -> httpx.Response:
    values = rows.to_numpy().tolist()
    tensor = {"name": "x", "shape": [len(values), 4], "datatype": "FP64", "data": values}
    return httpx.post(live.settings.edge_url + path, json={"inputs": [tensor]})
