"""Labels on a live cluster: predictions are captured, their labels posted at the edge, and performance measured."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest
from rayloop.platform.traffic.captured import Window, count_answers

from .conftest import TOY_PROJECT, Live, wait_until, write_rows

pytestmark = [pytest.mark.cluster, pytest.mark.live]

NAME = "labelled"
REQUESTS, ROWS = 100, 2


@pytest.fixture(scope="module")
def project(live: Live, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "data").mkdir(parents=True)
    text = TOY_PROJECT.format(name=NAME, use="tabular", params="{}", workers=1, epochs=3, gpu="false")
    (folder / "rayloop.yaml").write_text(text)
    write_rows(folder, "first", seed=1, rows=600)
    live.run("train", cwd=folder)
    live.run("deploy", NAME, "--version", "1", cwd=folder)
    return folder


def test_labels_posted_at_the_edge_are_joined_to_what_was_captured(live: Live, project: Path, tmp_path: Path) -> None:
    url, since_s = live.settings.edge_url, time.time()
    (tmp_path / "data").mkdir()
    table = write_rows(tmp_path, "new", seed=7, rows=REQUESTS * ROWS)
    rows = list(zip(*(table.column(f"x{place}").to_pylist() for place in range(4)), strict=True))
    truth = table.column("label").to_pylist()
    hits, labels = 0, []
    for request in range(REQUESTS):
        places = range(request * ROWS, (request + 1) * ROWS)
        data = [value for place in places for value in rows[place]]
        tensor = {"name": "x", "shape": [ROWS, 4], "datatype": "FP32", "data": data}
        headers = {"x-request-id": f"live-{request}"}
        answer = httpx.post(f"{url}/v2/models/{NAME}/infer", json={"inputs": [tensor]}, headers=headers)
        assert answer.status_code == 200, answer.text
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        for row, place in enumerate(places):
            hits += outputs["prediction"][row] == truth[place]
            labels.append({"request_id": f"live-{request}", "row": row, "label": truth[place]})
    store, window = live.workspace.store, Window(since_s, time.time() + 1)

    def captured() -> int:
        return count_answers(store.filesystem, store.path(""), NAME, 1, window)[0]

    wait_until(lambda: captured() == REQUESTS, 20, "all requests are captured")
    refused = httpx.post(f"{url}/v2/endpoints/{NAME}/labels", json=[*labels, {"request_id": "x"}])
    assert (refused.status_code, refused.json()["error"]) == (400, "record 201 has no label; nothing was stored")
    for stored in (len(labels), 0):  # the same body again changes nothing
        posted = httpx.post(f"{url}/v2/endpoints/{NAME}/labels", json=labels)
        assert (posted.status_code, posted.json()["stored"]) == (200, stored), posted.text

    printed = live.run("performance", NAME, "--since", str(since_s), "--json", cwd=project)
    found = json.loads(printed)
    window_found = found["windows"][0]
    assert (found["version"], found["reference"]["source"]) == (1, "held-out rows")
    assert (window_found["predictions"], window_found["labelled"]) == (len(labels), len(labels))
    assert window_found["state"] == "judged"
    accuracy = window_found["metrics"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(hits / len(labels))
    assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
    assert f"{NAME} v1: {found['verdict']}, " in live.run("performance", NAME, "--since", str(since_s), cwd=project)

    correction = tmp_path / "corrected.csv"
    correction.write_text(f"request_id,row,label\nlive-0,0,{1 - truth[0]}\n")
    assert f"{NAME}: 1 labels added" in live.run("labels", "add", NAME, str(correction), cwd=project)
    assert len(live.run("labels", "history", NAME, "live-0", cwd=project).splitlines()) == 3
    again = json.loads(live.run("performance", NAME, "--since", str(since_s), "--json", cwd=project))
    changed = again["windows"][0]["metrics"]["accuracy"]["mean"] - accuracy["mean"]
    assert abs(changed) == pytest.approx(1 / len(labels))
