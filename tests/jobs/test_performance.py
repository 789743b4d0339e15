"""Performance is measured from the store, kept, shown, and starts a pipeline run where the project says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rayloop.cli import main
from rayloop.jobs import performance_table
from rayloop.jobs.data import remember_project
from rayloop.jobs.measuring import measure_performance
from rayloop.platform.errors import Conflict, InvalidInput, NotFound
from rayloop.platform.labels import Label
from rayloop.platform.model.schema import Feature, Schema, Target
from rayloop.platform.state import Deployment
from rayloop.platform.workspace import Workspace
from rayloop.serve.capture import Capture, Record
from rayloop.serve.protocol.arrival import Arrival

from .conftest import build_project

NAME = "toy"
HOUR_S = 3_600
NOON_S = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
NOW_S = NOON_S + 5 * HOUR_S
CLASSES = Schema((Feature("a", "numeric", "FP64"),), Target("y", "INT64", (0, 1)))
NUMBERS = Schema((Feature("a", "numeric", "FP64"),), Target("y", "FP64"))


def deploy(workspace: Workspace, version: int, schema: Schema) -> None:
    """A version that is up, with as much of an artifact as says what it predicts."""
    folder = workspace.settings.home / f"model-{version}"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"schema": schema.to_dict()}))
    workspace.endpoints.add_deployment(Deployment(NAME, version, str(folder), {}))


def serve_hour(
    workspace: Workspace, hour: int, accuracy: float, *, version: int = 1, rows: int = 120, labelled: int | None = None
) -> None:
    """An hour of predictions by one version, and a minute later the labels of the first ones."""
    capture = Capture(NAME, version, CLASSES.signature(), workspace.capture_folder, flush_seconds=60)
    labels, wrong = [], round(rows * (1 - accuracy))
    random = np.random.default_rng(100 * version + hour)
    order = random.permutation(rows)
    for place in range(rows):
        at_s = NOON_S + hour * HOUR_S + place * 20
        answer = place % 2
        sure = np.array([[0.1, 0.9] if answer else [0.9, 0.1]], np.float32)
        request = f"v{version}-h{hour}-{place}"
        arrival = Arrival(request, round(at_s * 1e6), 0.0, "split")
        outputs = {"prediction": np.array([answer]), "probabilities": sure}
        capture.offer(Record(arrival, 1.0, 200, 1, None, {"a": np.array([1.0 * place])}, outputs))
        truth = 1 - answer if order[place] < wrong else answer
        labels.append(Label(request, 0, str(truth), float(truth)))
    assert capture.close()
    if labelled != 0:
        workspace.labels.add(NAME, labels[:labelled], "ci", NOON_S + (hour + 1) * HOUR_S)


@pytest.fixture
def served(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A project whose version 1 has all traffic; it was right on 90 % of its 1,000 held-out rows."""
    keep(workspace, tmp_path)
    deploy(workspace, 1, CLASSES)
    workspace.endpoints.set_split(NAME, {1: 10_000}, "first")
    workspace.verdicts.add(NAME, 1, True, {"metrics": {"accuracy": 0.9, "auc": 0.95}, "rows": 1_000})
    return workspace


def keep(workspace: Workspace, tmp_path: Path, kind: str = "classification", **retrain: Any) -> None:
    folder = tmp_path / "project"
    folder.mkdir(exist_ok=True)
    remember_project(workspace, build_project(kind, monitor={"min_rows": 50}, retrain=retrain), folder)


def measure(workspace: Workspace, **options: Any) -> dict[str, Any]:
    return measure_performance(workspace, NAME, since_s=NOON_S, until_s=NOON_S + 4 * HOUR_S, now_s=NOW_S, **options)


def verdicts(found: dict[str, Any]) -> Sequence[str | None]:
    return [window["verdict"] for window in found["windows"]]


def test_windows_are_judged_stored_and_can_be_json(served: Workspace) -> None:
    for hour, accuracy in enumerate([0.9, 0.9, 0.6]):
        serve_hour(served, hour, accuracy)
    serve_hour(served, 3, 0.5, labelled=60)
    found = measure(served)
    assert verdicts(found) == ["none", "none", "drift", None]
    assert (found["verdict"], found["version"], found["pipeline_run"]) == ("drift", 1, None)
    assert (found["reference"]["source"], found["reference"]["rows"]) == ("held-out rows", 1_000)
    window = found["windows"][2]
    assert (window["predictions"], window["labelled"], window["coverage"]) == (120, 120, 1.0)
    assert window["metrics"]["accuracy"]["mean"] == 0.6
    assert set(window["metrics"]) == {"accuracy", "precision", "recall", "f1", "auc", "log_loss"}
    assert (found["windows"][3]["state"], found["windows"][3]["coverage"]) == ("immature", 0.5)
    json.dumps(found, allow_nan=False)
    stored = served.verdicts.latest_performance(NAME)
    assert stored is not None
    assert stored["windows"][2]["verdict"] == "drift"
    assert served.verdicts.latest_drift(NAME) is None
    assert served.pipelines.runs() == []


def test_the_trigger_fires_once_where_the_project_says_so(served: Workspace, tmp_path: Path) -> None:
    keep(served, tmp_path, on_performance=True, on_drift=False)
    serve_hour(served, 0, 0.9)
    assert measure(served)["pipeline_run"] is None
    serve_hour(served, 1, 0.6)
    found = measure(served)
    (run,) = served.pipelines.runs()
    assert (found["pipeline_run"], run.trigger, run.reason) == (run.id, "performance", found["reason"])
    assert measure(served)["pipeline_run"] is None  # that run is open
    assert len(served.pipelines.runs()) == 1


def test_labels_that_come_later_and_corrections_count(served: Workspace) -> None:
    serve_hour(served, 0, 0.9)
    serve_hour(served, 1, 0.9, labelled=0)
    before = measure(served)["windows"][1]
    assert (before["labelled"], before["state"], before["metrics"]) == (0, "immature", {})
    serve_hour(served, 2, 0.9)
    labels = [Label(f"v1-h1-{place}", 0, str(place % 2), float(place % 2)) for place in range(120)]
    served.labels.add(NAME, labels, "ci", NOW_S)
    assert measure(served)["windows"][1]["metrics"]["accuracy"]["mean"] == 1.0
    wrong = [Label(f"v1-h1-{place}", 0, str(1 - place % 2), float(1 - place % 2)) for place in range(60)]
    served.labels.add(NAME, wrong, "ci", NOW_S)
    assert measure(served)["windows"][1]["metrics"]["accuracy"]["mean"] == 0.5


def test_versions_alone_and_all_together(served: Workspace) -> None:
    deploy(served, 2, CLASSES)
    for hour in range(2):
        serve_hour(served, hour, 0.9)
        serve_hour(served, hour, 0.5, version=2)
    assert measure(served)["windows"][1]["metrics"]["accuracy"]["mean"] == 0.9
    second = measure(served, version="2")
    assert (second["version"], second["windows"][1]["metrics"]["accuracy"]["mean"]) == (2, 0.5)
    assert second["reference"]["source"] == "first windows"  # nothing was recorded of it
    together = measure(served, version="all")
    assert (together["version"], together["windows"][1]["predictions"]) == (None, 240)
    assert together["windows"][1]["metrics"]["accuracy"]["mean"] == 0.7
    with pytest.raises(InvalidInput, match="--version 'x' must be a number, or 'all'"):
        measure(served, version="x")


def test_versions_of_other_classes_are_not_put_together(served: Workspace) -> None:
    deploy(served, 2, Schema(CLASSES.features, Target("y", "INT64", (0, 1, 2))))
    serve_hour(served, 0, 0.9)
    serve_hour(served, 0, 0.9, version=2)
    with pytest.raises(Conflict, match=r"versions \[1, 2\] of 'toy' have different classes"):
        measure(served, version="all")


def test_an_endpoint_without_predictions_or_project(served: Workspace) -> None:
    found = measure(served)
    assert (found["verdict"], found["reason"]) == ("immature", "no window could be judged")
    with pytest.raises(NotFound):
        measure_performance(served, "nobody")
    with pytest.raises(InvalidInput, match="must lie after --since"):
        measure_performance(served, NAME, since_s=NOON_S, until_s=NOON_S)


def test_a_regression_is_measured_and_its_loss_estimated(workspace: Workspace, tmp_path: Path) -> None:
    keep(workspace, tmp_path, "regression")
    deploy(workspace, 1, NUMBERS)
    workspace.endpoints.set_split(NAME, {1: 10_000}, "first")
    capture = Capture(NAME, 1, NUMBERS.signature(), workspace.capture_folder, flush_seconds=60)
    random, labels = np.random.default_rng(0), []
    for hour, rows in enumerate([2_000, 1_500, 300]):
        for place in range(rows):
            request, at_s = f"h{hour}-{place}", NOON_S + hour * HOUR_S + place
            a = random.uniform()
            arrival = Arrival(request, round(at_s * 1e6), 0.0, "split")
            record = Record(arrival, 1.0, 200, 1, None, {"a": np.array([a])}, {"prediction": np.array([10 * a])})
            capture.offer(record)
            truth = 10 * a + (3.0 if hour == 2 else 0.0) + random.normal(0, 0.2 + a)
            labels.append(Label(request, 0, str(truth), truth))
    assert capture.close()
    workspace.labels.add(NAME, labels, "ci", NOON_S + 4 * HOUR_S)
    found = measure(workspace)
    assert (found["metric"], found["reference"]["source"], found["estimator"]["method"]) == (
        "rmse",
        "first windows",
        "DLE",
    )
    assert verdicts(found)[:3] == [None, "none", "drift"]
    steady, drifted = found["windows"][1], found["windows"][2]
    assert steady["estimates"]["mae"] == pytest.approx(steady["metrics"]["mae"]["mean"], rel=0.15)
    assert drifted["metrics"]["bias"]["mean"] == pytest.approx(-3, abs=0.2)
    assert drifted["past_error"]["rmse"] < 0.1


def test_a_person_reads_a_table(served: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    for hour, accuracy in enumerate([0.9, 0.9, 0.6]):
        serve_hour(served, hour, accuracy)
    performance_table.console.width = 200
    performance_table.show_performance(measure(served))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:6] == ["2026-05-01", "12:00", "120", "120", "(100%)", "100%,"]
    assert "drift" in lines[3]
    assert any(
        line.startswith("reference: accuracy 0.9000 on 1000 rows, held-out rows; estimates by") for line in lines
    )
    assert any("toy v1: drift, accuracy 0.6000" in line for line in lines)


def test_the_verb_prints_json(served: Workspace) -> None:
    serve_hour(served, 0, 0.9)
    until = str(NOON_S + 2 * HOUR_S)
    arguments = ["performance", NAME, "--since", str(NOON_S), "--until", until, "--window-minutes", "30", "--json"]
    done = CliRunner().invoke(main, arguments, prog_name="rayloop")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [window["predictions"] for window in found["windows"]] == [90, 30, 0, 0]
