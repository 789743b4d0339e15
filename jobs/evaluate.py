"""Measures a version on held-out rows beside the champion, and judges it by the project's gates."""

from __future__ import annotations

import json
from dataclasses import asdict

from ..platform.data import Snapshot
from ..platform.errors import InvalidInput
from ..platform.model.artifact import LoadedModel, load_artifact
from ..platform.project import Project
from ..platform.registry import ModelVersion
from ..platform.registry.registry import CHAMPION
from ..platform.validate import Verdict, judge
from ..platform.workspace import Workspace
from .report import say
from .training.artifact import LoggedModel
from .training.data import encode_rows
from .training.loop import measure
from .training.reader import PartRows, open_parts


def validate_artifact(
    workspace: Workspace, project: Project, snapshot: Snapshot, artifact: str, source: str = "stream"
) -> Verdict:
    """Judge an artifact on the snapshot's test rows, beside the champion on the same rows.

    `source` is where the rows are: `memory`, after a training that holds them, or `stream`, to be read in pieces.
    """
    champion = workspace.registry.alias(project.name, CHAMPION)
    test = open_parts(snapshot, project, source)["test"]
    challenger_metrics = measure_on(load_artifact(artifact), test)
    champion_metrics: dict[str, float] = {}
    if champion is not None:
        try:
            champion_metrics = measure_on(
                load_artifact(workspace.registry.version(project.name, champion).artifact), test
            )
        except InvalidInput as reason:  # a class or a column that came later: no ground to hold a challenger back
            say(f"champion v{champion} can't be measured on these rows: {reason}")
    gates = project.validate_.gates
    return judge(gates, challenger_metrics, champion, champion_metrics, snapshot.digest, test.count)


def register_with_verdict(
    workspace: Workspace, project: Project, logged: LoggedModel, verdict: Verdict, snapshot: Snapshot
) -> ModelVersion:
    """Register a logged model with its verdict; a version that failed its gates is kept, and can't be served."""
    tags = {
        "rayloop.sha256": logged.sha256,
        "rayloop.snapshot": snapshot.digest,
        "rayloop.plan": json.dumps(asdict(logged.plan)),
        "rayloop.validation": "passed" if verdict.passed else "failed",
    }
    version = workspace.registry.register(project.name, logged.model_uri, logged.run_id, tags)
    store_verdict(workspace, version, verdict)
    return version


def store_verdict(workspace: Workspace, version: ModelVersion, verdict: Verdict) -> None:
    """Keep verdict and evidence with the version: in SQL, in MLflow, and one line for each gate in the output."""
    workspace.verdicts.add(version.model, version.version, verdict.passed, verdict.evidence())
    state = "passed" if verdict.passed else "failed"
    tags = {"rayloop.validation": state}
    tags |= {f"rayloop.gate.{place}": gate.reason for place, gate in enumerate(verdict.gates)}
    workspace.registry.tag(version.model, version.version, tags)
    for gate in verdict.gates:
        say(f"gate {'kept' if gate.passed else 'BROKEN'}: {gate.reason}")
    say(f"{version.model} v{version.version}: validation {state} on {verdict.rows} held-out rows")


def measure_on(model: LoadedModel, test: PartRows) -> dict[str, float]:
    """Metrics of a model on the rows of a part, piece by piece."""
    schema = model.schema
    tables = test.tables(schema.columns)
    return measure(model.task, model.module, (encode_rows(model.task, schema, table) for table in tables))
