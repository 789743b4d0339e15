"""Labels come by HTTP and by the command line, whole or not at all, and name who sent them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rayloop.cli import main
from rayloop.jobs.control.application import MAX_BODY_BYTES, MAX_LABELS_BYTES
from rayloop.jobs.data import remember_project
from rayloop.jobs.labelling import add_labels
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.labels import parse_body
from rayloop.platform.state import Deployment
from rayloop.platform.workspace import Workspace

from .conftest import build_project
from .test_control import ENDPOINT, NAME, Ask, application, ask, registry, serve  # noqa: F401  fixtures

LABELS = f"{ENDPOINT}/labels"


def history(workspace: Workspace, request_id: str, row: int = 0) -> list[str]:
    return [record["label"] for record in workspace.labels.history(NAME, request_id, row)]


def test_labels_are_posted_as_a_list_or_as_lines(workspace: Workspace, ask: Ask) -> None:  # noqa: F811
    body = [{"request_id": "a", "label": 1}, {"request_id": "a", "row": 1, "label": 0, "time": "2026-01-01T12:00:00Z"}]
    answer = ask("POST", LABELS, body)
    assert (answer.status_code, answer.json()) == (200, {"records": 2, "stored": 2, "batches": [1]})
    assert ask("POST", LABELS, body).json() == {"records": 2, "stored": 0, "batches": [1]}
    event = {"groundTruthData": {"data": "0", "encoding": "CSV"}, "eventMetadata": {"eventId": "a"}}
    lines = "\n".join(json.dumps(one) for one in (event, {"request_id": "b", "label": 1}))
    assert ask("POST", LABELS, content=lines.encode()).json() == {"records": 2, "stored": 2, "batches": [2]}
    assert (history(workspace, "a"), history(workspace, "a", 1), history(workspace, "b")) == (["1", "0"], ["0"], ["1"])
    assert [record["by"] for record in workspace.labels.history(NAME, "b")] == ["token:ci"]


def test_one_bad_record_stores_nothing(workspace: Workspace, ask: Ask) -> None:  # noqa: F811
    answer = ask("POST", LABELS, [{"request_id": "a", "label": 1}, {"request_id": "b", "label": None}])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("record 2 has label null")
    assert history(workspace, "a") == []
    assert ask("POST", "/v2/endpoints/nobody/labels", [{"request_id": "a", "label": 1}]).status_code == 404
    assert ask("POST", LABELS, content=b"").status_code == 400


def test_labels_have_a_bound_of_their_own(ask: Ask) -> None:  # noqa: F811
    event = {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "x" * 36}}
    lines = [json.dumps({**event, "eventVersion": "0"}).replace("x" * 36, f"{place:036d}") for place in range(10_000)]
    content = "\n".join(lines).encode()
    assert MAX_BODY_BYTES < len(content) < MAX_LABELS_BYTES
    assert ask("POST", LABELS, content=content).json()["stored"] == 10_000
    answer = ask("POST", LABELS, content=b" " * (MAX_LABELS_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]) == (413, f"the body is larger than {MAX_LABELS_BYTES} bytes")


def test_a_regression_takes_numbers_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    remember_project(workspace, build_project("regression", name="price"), tmp_path / "other")
    labels = parse_body(b'[{"request_id": "a", "label": "3.5"}, {"request_id": "b", "label": "much"}]')
    with pytest.raises(InvalidInput, match="record 2 has label 'much', and price predicts numbers; nothing was stored"):
        add_labels(workspace, "price", labels)
    assert add_labels(workspace, "price", labels[:1]).stored == 1


def test_an_endpoint_of_other_models_takes_any_label(workspace: Workspace) -> None:
    origin = {"origin": {"model": "models:/iris/3", "source": "x", "sha256": "y"}}
    workspace.endpoints.add_deployment(Deployment("iris", 1, "/models/1", origin))
    assert add_labels(workspace, "iris", parse_body(b'{"request_id": "a", "label": "setosa"}')).stored == 1
    with pytest.raises(NotFound):
        add_labels(workspace, "nobody", parse_body(b'{"request_id": "a", "label": "setosa"}'))


def rayloop(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments), prog_name="rayloop")
    return done.exit_code, done.output


def test_a_file_is_added_once_and_its_history_printed(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("request_id,label\na,1\nb,0\n")
    assert rayloop("labels", "add", NAME, str(path)) == (0, "toy: 2 labels added\n")
    assert rayloop("labels", "add", NAME, str(path)) == (0, "toy: 0 labels added, 2 were there already\n")
    path.write_text("request_id,label\na,0\n")
    assert rayloop("labels", "add", NAME, str(path)) == (0, "toy: 1 labels added\n")
    code, printed = rayloop("labels", "history", NAME, "a")
    assert code == 0
    assert [line.split()[:2] for line in printed.splitlines()[1:]] == [["1000000", "1"], ["2000000", "0"]]
    path.write_text("request_id,label\na,0\nb,\n")
    code, printed = rayloop("labels", "add", NAME, str(path))
    assert (code, "row 2 has label null" in printed, len(history(workspace, "b"))) == (2, True, 1)
    assert rayloop("labels", "add", NAME, str(tmp_path / "none.csv"))[0] == 3


def test_a_posted_body_is_read_by_others(workspace: Workspace, ask: Ask) -> None:  # noqa: F811
    """The stored set is plain Parquet: pandas reads it with its folders as columns."""
    import pandas as pd

    ask("POST", LABELS, [{"request_id": "a", "label": "yes"}, {"request_id": "b", "label": 2.5}])
    frame: Any = pd.read_parquet(workspace.store.uri("labels"))
    assert frame[["request_id", "label", "endpoint"]].astype(str).to_numpy().tolist() == [
        ["a", "yes", NAME],
        ["b", "2.5", NAME],
    ]
