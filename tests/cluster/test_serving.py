"""Serving on a live cluster: deploy, split, pin, roll back, capture, drift, and what an outsider is refused."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import pandas as pd
import pytest
from rayloop.cluster import Cluster, LocalCluster
from rayloop.platform.traffic import app_prefix
from rayloop.serve.edge import EdgeProcess
from rayloop.serve.keeper import edge_folder, edge_settings
from rayloop.serve.versions import application_states

from .conftest import Live, wait_until, write_rows

pytestmark = pytest.mark.cluster

NAME = "served"


@pytest.fixture(scope="module")
def project(live: Live, tmp_path_factory) -> Path:
    """A project with two validated versions, both deployed; the first has all traffic."""
    from .conftest import TOY_PROJECT

    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "data").mkdir(parents=True)
    text = TOY_PROJECT.format(name=NAME, use="tabular", params="{}", workers=1, epochs=3, gpu="false")
    (folder / "rayloop.yaml").write_text(text)
    write_rows(folder, "first", seed=1, rows=600)
    for version in (1, 2):
        live.run("train", cwd=folder)
        assert "next: `rayloop split" not in live.run("deploy", NAME, "--version", str(version), cwd=folder)
    wait_until(lambda: _ask(live).status_code == 200, 10, "the edge knows the endpoint")
    return folder


def test_an_answer_names_its_version(live: Live, project: Path) -> None:
    answer = _ask(live)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model_name"], body["model_version"]) == (NAME, "1")
    assert answer.headers["x-rayloop-version"] == "1"
    assert body["outputs"][0]["data"][0] in {0, 1}
    assert sum(body["outputs"][1]["data"]) == pytest.approx(1, abs=1e-5)
    metadata = httpx.get(f"{live.settings.edge_url}/v2/models/{NAME}").json()
    assert [column["name"] for column in metadata["inputs"]] == ["x0", "x1", "x2", "x3"]
    assert httpx.get(f"{live.settings.edge_url}/v2/health/ready").json() == {"ready": True, "live": True}


def test_a_split_is_kept_and_rolled_back(live: Live, project: Path) -> None:
    assert "v2 30 %, v1 70 %" in live.run("split", NAME, "1=70", "2=30", cwd=project)
    wait_until(lambda: _ask(live).headers["x-rayloop-revision"] == "2", 5, "the edge takes the split")
    counted = Counter(_ask(live).headers["x-rayloop-version"] for _ in range(600))
    assert 100 < counted["2"] < 260  # 180 expected, 11 a standard deviation
    sticky = {_ask(live, headers={"x-session-id": "alice"}).headers["x-rayloop-version"] for _ in range(20)}
    assert len(sticky) == 1
    assert _ask(live, path=f"/v2/models/{NAME}/versions/2/infer").json()["model_version"] == "2"
    assert "v2 100 %" in live.run("split", NAME, "2=100", cwd=project)
    assert live.workspace.registry.alias(NAME, "champion") == 2
    assert "v1 100 %" in live.run("rollback", NAME, cwd=project)
    wait_until(lambda: _ask(live).headers["x-rayloop-version"] == "1", 5, "the edge rolls back")
    assert live.workspace.registry.alias(NAME, "champion") == 1
    assert "unchanged" in live.run("ledger", "verify", cwd=project)


def test_what_is_not_there_is_404_and_a_sentence(live: Live, project: Path) -> None:
    for path in ("/v2/models/nobody/infer", f"/v2/models/{NAME}/versions/9/infer", "/elsewhere"):
        answer = _ask(live, path=path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]
    bad = httpx.post(f"{live.settings.edge_url}/v2/models/{NAME}/infer", content=b"{")
    assert bad.status_code == 400
    assert "JSON" in bad.json()["error"]
    printed = live.run("deploy", NAME, "--version", "99", cwd=project, expect=3)
    assert printed == f"error: model '{NAME}' has no version 99; it has 1, 2\n"
    assert live.run("split", NAME, "1=50", "7=50", cwd=project, expect=4).startswith("error: served version 7 is not")
    assert "still has traffic" in live.run("undeploy", NAME, "1", cwd=project, expect=4)


def test_nobody_passes_the_edge_by(live: Live, project: Path) -> None:
    inner = f"{app_prefix(NAME, 1)}/v2/models/{NAME}/infer"
    assert _ask(live, path=inner).status_code == 403
    direct = httpx.post(f"http://127.0.0.1:{live.settings.serve_port}{inner}", json=_body())
    assert direct.status_code == 403
    forged = _ask(live, headers={"x-rayloop-version": "2", "x-rayloop-secret": "x" * 20})
    assert forged.json()["model_version"] == "1"


def test_predictions_are_captured(live: Live, project: Path) -> None:
    answer = _ask(live, headers={"x-request-id": "captured-1"}, rows=[[0.0, 0.0, 0.0, 0.0], [1.5, 1.5, 1.5, 1.5]])
    folder = Path(live.workspace.capture_folder) / f"endpoint={NAME}"

    def captured() -> pd.DataFrame:
        frame = pd.read_parquet(folder)
        return frame[frame["request_id"] == "captured-1"].sort_values("row")

    wait_until(lambda: folder.exists() and len(captured()) == 2, 10, "two captured rows")
    rows = captured()
    assert rows["input.x0"].tolist() == [0.0, 1.5]
    assert rows["output.prediction"].tolist() == answer.json()["outputs"][0]["data"]
    assert rows["status"].tolist() == [200, 200]
    assert rows["propensity"].tolist() == [1.0, 1.0]
    assert set(rows["version"].astype(int)) == {1}


def test_ray_data_reads_what_is_captured(live: Live, project: Path, tmp_path: Path) -> None:
    since = time.time()
    _ask(live, rows=[[float(row)] * 4 for row in range(7)], headers={"x-request-id": "by-ray"})
    _ask(live, rows=[[0.5] * 4] * 5, headers={"x-request-id": "by-ray"}, path=f"/v2/models/{NAME}/versions/2/infer")
    _when_captured(live, since, 12)
    blocks = (Path(__file__).parents[2] / "docs/serving.md").read_text().split("```")
    (snippet,) = [block.removeprefix("python") for block in blocks if "ray.data.read_parquet" in block]
    snippet = snippet.replace(".rayloop/store/capture", live.workspace.capture_folder).replace("churn", NAME)
    (tmp_path / "read.py").write_text(
        snippet.replace("== 3", "== 2")
        + """
import json
found = rows.filter(expr=col("request_id") == "by-ray").take_all()
assert all(type(row["version"]) is int and row["time"].tzinfo is not None for row in found)
print(json.dumps(sorted([row["version"], row["row"], row["input.x0"], row["endpoint"]] for row in found)))
"""
    )
    cluster = Cluster.connect(settings=live.settings)
    job = cluster.submit("python read.py", working_dir=tmp_path)
    cluster.wait(job)
    printed = list(cluster.logs(job))
    frame = pd.read_parquet(Path(live.workspace.capture_folder) / f"endpoint={NAME}")
    assert str((frame["version"].astype(int) == 2).sum()) in printed
    wanted = [[1, row, float(row), NAME] for row in range(7)] + [[2, row, 0.5, NAME] for row in range(5)]
    assert json.dumps(wanted) in printed


def test_drift_is_found_where_it_is(live: Live, project: Path) -> None:
    same = write_rows(project, "ignored", seed=5, rows=120)
    (project / "data" / "ignored.parquet").unlink()
    names = ["x0", "x1", "x2", "x3"]
    rows = list(zip(*(same.column(name).to_pylist() for name in names), strict=True))
    since = time.time()
    _ask(live, rows=rows)
    until = _when_captured(live, since, 120)
    text = live.run("drift", NAME, "--since", str(since), "--until", str(until), cwd=project)
    assert "no drift on 120 rows" in text
    later = time.time()
    _ask(live, rows=[[value + 3 for value in row] for row in rows])
    until = _when_captured(live, later, 120)
    text = live.run("drift", NAME, "--since", str(later), "--until", str(until), cwd=project)
    assert "\ndrift on 120 rows" in text
    # Nothing new is labelled, so the run that the verdict starts must end without a new version.
    (run,) = live.workspace.pipelines.runs(NAME)
    wait_until(lambda: live.workspace.pipelines.get(run.id).has_ended, 60, "the pipeline run ends")
    assert live.workspace.pipelines.get(run.id).state == "rejected"
    assert len(live.workspace.registry.versions(NAME)) == 2


def test_a_killed_edge_is_back_within_a_second(live: Live, project: Path) -> None:
    workspace = live.workspace
    process = EdgeProcess(edge_settings(workspace), edge_folder(workspace.settings))
    running = process.find_running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    with httpx.Client(timeout=1) as client:
        while True:
            try:
                if _ask(live, client=client).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert time.monotonic() - killed_s < 10
            time.sleep(0.01)
    assert time.monotonic() - killed_s < 1.5  # the edge is back within 1 s; the rest is for a busy test machine


def test_a_version_that_cannot_load_is_refused_and_harms_nothing(live: Live, project: Path) -> None:
    artifact = Path(live.workspace.registry.version(NAME, 2).artifact)
    live.run("undeploy", NAME, "2", cwd=project)
    weights = artifact / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        name = f"{NAME}--v2"
        wait_until(lambda: name not in application_states(live.settings), 90, "the version drains")
        printed = live.run("deploy", NAME, "--version", "2", cwd=project, expect=1)
        (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert "model.safetensors was changed" in error
        assert [found.version for found in live.workspace.endpoints.deployments(NAME)] == [1]
        assert _ask(live).json()["model_version"] == "1"
    finally:
        weights.write_bytes(kept)


def test_up_twice_is_refused(live: Live) -> None:
    printed = live.run("up", cwd=live.home, expect=4)
    assert printed.count("\n") == 1
    assert "a local cluster is running already" in printed
    assert LocalCluster.find(live.settings) is not None


def _body(rows=None) -> dict:
    rows = rows or [[0.1, 0.2, 0.3, 0.4]]
    return {"inputs": [{"name": "x", "shape": [len(rows), 4], "datatype": "FP32", "data": [list(row) for row in rows]}]}


def _ask(live: Live, *, path: str | None = None, headers=None, rows=None, client: httpx.Client | None = None):
    post = client.post if client is not None else httpx.post
    return post(live.settings.edge_url + (path or f"/v2/models/{NAME}/infer"), json=_body(rows), headers=headers)


def _when_captured(live: Live, since_s: float, rows: int) -> float:
    """Wait until so many rows since a moment are captured; returns a moment after the last."""
    folder = Path(live.workspace.capture_folder) / f"endpoint={NAME}"

    def count() -> int:
        frame = pd.read_parquet(folder)
        return int((frame["time"].astype("int64") / 1e6 >= since_s).sum())

    wait_until(lambda: count() >= rows, 10, f"{rows} captured rows")
    return time.time()
