"""A shadow on a live cluster: version 1 answers, version 2 answers the copies, and a report compares the two."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pandas as pd
import pytest
from rayloop.platform.traffic.captured import Window, count_answers

from .conftest import TOY_PROJECT, Live, wait_until, write_rows

pytestmark = [pytest.mark.cluster, pytest.mark.live]

NAME = "shadowed"
ROWS = [[0.0, 0.0, 0.0, 0.0], [1.5, 1.5, 1.5, 1.5]]


@pytest.fixture(scope="module")
def project(live: Live, tmp_path_factory) -> Path:
    """A project with two versions, both deployed; the first has all traffic."""
    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "data").mkdir(parents=True)
    text = TOY_PROJECT.format(name=NAME, use="tabular", params="{}", workers=1, epochs=3, gpu="false")
    (folder / "rayloop.yaml").write_text(text)
    write_rows(folder, "first", seed=1, rows=600)
    for version in (1, 2):
        live.run("train", cwd=folder)
        live.run("deploy", NAME, "--version", str(version), cwd=folder)
    wait_until(lambda: _ask(live).status_code == 200, 10, "the edge knows the endpoint")
    return folder


def test_a_shadow_answers_copies_and_is_compared(live: Live, project: Path) -> None:
    since_s = time.time()
    assert "v1 100 %, shadow v2 100 % (revision 2)" in live.run("shadow", NAME, "2", cwd=project)
    assert "shadow v2 100 %" in live.run("status", cwd=project)
    asked = [
        _ask(live, protocol, f"{protocol}-{number}") for number in range(20) for protocol in ("v2", "v1", "mlflow")
    ]
    assert {(answer.status_code, answer.headers["x-rayloop-version"]) for answer in asked} == {(200, "1")}
    folder = Path(live.workspace.capture_folder) / f"endpoint={NAME}"

    def copied() -> pd.DataFrame:
        frame = pd.read_parquet(folder)
        return frame[frame["variant"] == "shadow"]

    wait_until(lambda: len(copied()) >= 2 * len(asked), 20, "all copies are captured")
    rows = copied()
    assert len(rows) == 2 * len(asked)
    assert set(rows["version"].astype(int)) == {2}
    assert set(rows["request_id"]) == {answer.headers["x-request-id"] for answer in asked}
    mirror = httpx.get(f"{live.settings.edge_url}/v2/models/{NAME}/versions/1/stats").json()["rayloop"]["mirror"]
    assert mirror == {"mirrored": len(asked), "dropped": 0, "failed": 0, "queue_depth": 0}

    printed = live.run("shadow-report", NAME, "--since", str(since_s), cwd=project)
    assert f"{NAME}: shadow v2 agrees with v1 on " in printed
    found = json.loads(live.run("shadow-report", NAME, "--since", str(since_s), "--json", cwd=project))
    assert (found["version"], found["primary_versions"]) == (2, [1])
    assert (found["requests"], found["rows"]) == (len(asked), 2 * len(asked))
    assert found["agreement"]["mean"] == 1.0  # both were trained on the same rows
    assert (found["shadow"]["rows_alone"], found["ambiguous"], found["not_compared"]) == (0, 0, [])
    assert found["p50_ratio"] > 0

    store, window = live.workspace.store, Window(since_s, time.time() + 1)
    counted = [count_answers(store.filesystem, store.path(""), NAME, version, window) for version in (1, 2)]
    assert counted == [(len(asked), 0), (0, 0)]  # what a canary would count


def test_a_shadow_stays_up_until_it_is_ended(live: Live, project: Path) -> None:
    live.run("shadow", NAME, "2=50", cwd=project)
    refused = live.run("undeploy", NAME, "2", cwd=project, expect=4)
    assert f"{NAME} version 2 is a shadow: take it out by `rayloop shadow {NAME}` first" in refused
    assert f"{NAME}: v1 100 % (revision 4)" in live.run("shadow", NAME, "--none", cwd=project)
    before = _mirrored(live)
    for number in range(20):
        assert _ask(live, "v2", f"late-{number}").status_code == 200
    assert _mirrored(live) == before
    live.run("undeploy", NAME, "2", cwd=project)
    assert "unchanged" in live.run("ledger", "verify", cwd=project)


def _mirrored(live: Live) -> dict[str, int]:
    stats = httpx.get(f"{live.settings.edge_url}/v2/models/{NAME}/versions/1/stats").json()
    return stats["rayloop"]["mirror"]


def _ask(live: Live, protocol: str = "v2", request_id: str | None = None) -> httpx.Response:
    """Two rows in one of the three protocols."""
    names = ["x0", "x1", "x2", "x3"]
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": ROWS}
    path, body = {
        "v2": (f"/v2/models/{NAME}/infer", {"inputs": [tensor]}),
        "v1": (f"/v1/models/{NAME}:predict", {"instances": ROWS}),
        "mlflow": (f"/mlflow/{NAME}/invocations", {"dataframe_split": {"columns": names, "data": ROWS}}),
    }[protocol]
    headers = {} if request_id is None else {"x-request-id": request_id}
    return httpx.post(live.settings.edge_url + path, json=body, headers=headers)
