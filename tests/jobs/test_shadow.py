"""A report finds a shadow's rows and their originals in the store, and drift takes no copy for a request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from rayloop.jobs import terminal
from rayloop.jobs.shadow import report_shadow
from rayloop.platform.errors import Conflict, InvalidInput, NotFound
from rayloop.platform.model.monitored import PREDICTION, as_monitored, captured_rows
from rayloop.platform.model.schema import table_columns
from rayloop.platform.model.signature import NUMPY_DTYPE, ColumnSpec, Signature
from rayloop.platform.state import Deployment
from rayloop.platform.stats import ParquetFiles, count_portions, fit_binnings
from rayloop.platform.traffic.captured import Window, capture_files
from rayloop.platform.workspace import Workspace
from rayloop.serve.capture import Capture, Record
from rayloop.serve.protocol.arrival import Arrival

NAME = "toy"
NOON_S = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
OUTPUTS = (ColumnSpec("prediction", "INT64"), ColumnSpec("probability", "FP32", width=2))
SIGNATURE = Signature((ColumnSpec("a", "FP32"),), OUTPUTS)


def write(
    workspace: Workspace,
    version: int,
    predictions: Sequence[int],
    *,
    variant: str,
    first: int = 0,
    at_s: float = NOON_S,
    latency_ms: float = 1.0,
) -> None:
    """What a replica captures of requests with one row each, one a second."""
    capture = Capture(NAME, version, SIGNATURE, workspace.capture_folder, flush_seconds=60)
    for place, prediction in enumerate(predictions):
        arrival = Arrival(f"r{first + place}", round((at_s + place) * 1e6), 0.0, variant)
        sure = np.array([[1.0 - prediction, prediction]], np.float32)
        outputs = {"prediction": np.array([prediction]), "probability": sure}
        inputs = {"a": np.array([1.0 * place], np.float32)}
        capture.offer(Record(arrival, latency_ms, 200, 1, None, inputs, outputs))
    assert capture.close()


@pytest.fixture
def served(workspace: Workspace, known: Any) -> Workspace:
    """Version 1 answers, version 2 is its shadow, and 3 is deployed."""
    for version in (1, 2, 3):
        workspace.endpoints.add_deployment(Deployment(NAME, version, f"/models/{version}", {}))
    workspace.endpoints.set_split(NAME, {1: 10_000}, "first")
    workspace.endpoints.set_shadows(NAME, {2: 10_000}, "look")
    return workspace


def report(workspace: Workspace, **options: Any) -> dict[str, Any]:
    return report_shadow(workspace, NAME, since_s=NOON_S, until_s=NOON_S + 100, **options)


def test_copies_are_held_against_the_answers_of_every_version_in_traffic(served: Workspace) -> None:
    write(served, 1, [0, 1, 0, 1, 0, 1], variant="split", latency_ms=2.0)
    write(served, 3, [1, 1], variant="split", first=6, at_s=NOON_S + 6, latency_ms=2.0)
    write(served, 3, [0] * 5, variant="pinned", first=100)
    write(served, 2, [0, 1, 0, 1, 0, 0, 1, 1], variant="shadow", latency_ms=3.0)
    write(served, 2, [1] * 9, variant="pinned", first=200)
    found = report(served)
    assert (found["endpoint"], found["version"], found["primary_versions"]) == (NAME, 2, [1, 3])
    assert (found["requests"], found["rows"], found["agreement"]["mean"]) == (8, 8, 7 / 8)
    assert {one["output"]: one["difference"]["mean"] for one in found["differences"]} == {
        "probability[0]": 1 / 8,
        "probability[1]": -1 / 8,
    }
    assert (found["p50_ratio"], found["primary"]["rows_alone"], found["shadow"]["rows_alone"]) == (1.5, 5, 0)


def test_the_original_of_a_copy_may_lie_before_the_window(served: Workspace) -> None:
    write(served, 1, [1, 1, 1], variant="split", at_s=NOON_S - 2.5)
    write(served, 2, [1, 1, 0], variant="shadow", at_s=NOON_S - 1.5)
    found = report(served)
    assert (found["requests"], found["agreement"]["mean"]) == (1, 0.0)
    assert found["primary"]["rows_alone"] == 0  # what was before the window and not copied in it is not counted


def test_another_version_s_report_and_an_empty_one(served: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    write(served, 1, [0, 1], variant="split")
    found = report(served, version=3)
    assert (found["version"], found["rows"], found["agreement"], found["primary_versions"]) == (3, 0, None, [])
    assert found["primary"]["rows_alone"] == 2
    terminal.show_shadow_report(found)
    assert "nothing that shadow v3 answered in this window can be compared" in capsys.readouterr().out


def test_a_report_is_asked_for_as_its_rules_say(served: Workspace) -> None:
    served.endpoints.set_shadows(NAME, {2: 10_000, 3: 10_000}, "both")
    with pytest.raises(Conflict, match="toy has 2 shadows: name the version by --version"):
        report(served)
    served.endpoints.set_shadows(NAME, {}, "none")
    with pytest.raises(Conflict, match="toy has no shadow now"):
        report(served)
    with pytest.raises(NotFound):
        report_shadow(served, "nobody")
    with pytest.raises(InvalidInput, match="must lie after --since"):
        report_shadow(served, NAME, 2, NOON_S, NOON_S)
    with pytest.raises(InvalidInput, match="--tolerance 1 must be"):
        report(served, version=2, tolerance=1.0)


def test_a_person_reads_the_report_as_tables(served: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    write(served, 1, [0, 1] * 10, variant="split", latency_ms=2.0)
    write(served, 2, [0, 1] * 10, variant="shadow", latency_ms=3.0)
    terminal.show_shadow_report(report(served))
    printed = capsys.readouterr().out
    said = "toy: shadow v2 agrees with v1 on 100.00% of 20 rows (83.89% to 100.00%), by prediction"
    assert said in " ".join(printed.split())
    assert ["p50", "ms", "2.0000", "3.0000", "1.5000"] in [line.split() for line in printed.splitlines()]
    assert "probability[1]" in printed


def test_a_split_is_printed_with_its_shadows(served: Workspace) -> None:
    made = served.endpoints.set_shadows(NAME, {2: 10_000, 3: 250}, "both")
    assert terminal.describe_split(made) == "toy: v1 100 %, shadow v3 2.5 %, shadow v2 100 % (revision 3)"


def test_drift_takes_no_copy_for_a_request(workspace: Workspace, make_toy: Any) -> None:
    toy = make_toy.make(rows=40)
    signature = toy.schema.signature()
    values = table_columns(toy.table, [one.name for one in signature.inputs])
    answers = {
        one.name: np.zeros(40 if one.width == 1 else (40, one.width), NUMPY_DTYPE[one.datatype])
        for one in signature.outputs
    }
    capture = Capture(NAME, 2, signature, workspace.capture_folder, flush_seconds=60)
    for place, variant in enumerate(["split", "shadow", "shadow", "pinned"]):
        arrival = Arrival(f"r{place}", round(NOON_S * 1e6), 0.0, variant)
        capture.offer(Record(arrival, 1.0, 200, 40, None, values, answers))
    assert capture.close()
    binnings = fit_binnings(as_monitored(toy.schema, toy.table, answers["prediction"]))
    store, window = workspace.store, Window(NOON_S, NOON_S + 1)
    paths = capture_files(store.filesystem, store.path(""), NAME, 2, window)
    files, selection = ParquetFiles(store.filesystem, paths), captured_rows(toy.schema, binnings, window)
    found = count_portions(files, files.portions(selection), selection, binnings)
    assert found.columns[PREDICTION].count == 80
