"""Trains a version again through the same `fit`, and holds the new weights against the version's own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...platform.data import open_snapshot
from ...platform.errors import NotFound
from ...platform.model.artifact import load_artifact
from ...platform.registry import compare_locks, environment_lock
from ...platform.registry.delivery import Delivery, Facts, Text
from ...platform.workspace import Workspace
from ..report import say
from ..training.fit import fit
from .evidence import Evidence, find_evidence, require_data
from .report import Report
from .weights import LABEL_TOLERANCE, compare_weights, first_difference, judge

COMPARED = ("processor", "cpus", "torch_threads", "gpus", "cuda", "cudnn")


def train_again(
    workspace: Workspace,
    model: str,
    number: int,
    tolerance: float | None = None,
    code: Sequence[str] = (),
    key: str | None = None,
) -> Report:
    """Reproduce a version in this process's job; the report is kept in MLflow and in the ledger.

    Raises DataChanged, NotFound, or what a training raises.
    """
    began_s = time.monotonic()
    evidence = find_evidence(workspace, model, number)
    data = require_data(workspace, evidence)
    say(f"data: {data}")
    environment = compare_locks(evidence.environment, environment_lock())
    then = load_artifact(evidence.version.artifact)  # it holds every file against its hash
    snapshot = open_snapshot(workspace.store, evidence.run.snapshot)
    key = key or new_key(evidence)
    workspace.runs.begin(key, evidence.run.project, "reproduce")  # and no train: nobody may register it
    fitted = fit(workspace, evidence.project, snapshot, key)
    now = load_artifact(workspace.registry.artifact_of(fitted.logged.model_uri))
    differences = compare_weights(then.module.state_dict(), now.module.state_dict())
    seen = _witness(workspace, key)
    report = Report(
        model=model,
        version=number,
        run=evidence.run.key,
        again=key,
        outcome=judge(differences, LABEL_TOLERANCE if tolerance is None else tolerance),
        tolerance=tolerance,
        tensors=len(then.module.state_dict()),
        differences=tuple(differences),
        first_epoch=first_difference(evidence.witness, seen),
        epochs=min(len(evidence.witness.get("epochs", [])), len(seen.get("epochs", []))),
        sha256=then.sha256,
        sha256_again=now.sha256,
        code=tuple(code),
        environment=tuple(environment),
        machine=_machines(evidence.witness.get("machine", {}), seen.get("machine", {})),
        data=data,
        labels=evidence.labels,
        wall_s=round(time.monotonic() - began_s, 2),
    )
    _keep(workspace, evidence, report)
    return report


def new_key(evidence: Evidence) -> str:
    """A name for the run that trains a version again."""
    return f"{evidence.run.project}-reproduce-{uuid.uuid4().hex[:8]}"


def _keep(workspace: Workspace, evidence: Evidence, report: Report) -> None:
    """The report beside the run that it is about, a tag at the version, and a line in the ledger."""
    name, text = f"reproduction-{report.again}.json", json.dumps(report.to_dict(), indent=1)
    workspace.runs.write_text(evidence.run.key, name, text)
    tags = {"rayloop.reproduced": report.outcome, "rayloop.reproduced_by": report.again}
    delivery = Delivery(workspace.settings, evidence.run.project, evidence.run.key, evidence.run.kind, makes=False)
    delivery.send([Text(name, text), Facts({}, tags)])
    workspace.registry.tag(report.model, report.version, {"rayloop.reproduced": report.outcome})
    detail = {
        "outcome": report.outcome,
        "run": report.run,
        "again": report.again,
        "first_epoch": report.first_epoch,
        "differences": [asdict(found) for found in report.differences[:10]],
    }
    workspace.ledger.record("reproduce", f"{report.model}/{report.version}", detail)


def _witness(workspace: Workspace, key: str) -> dict[str, Any]:
    try:
        seen: dict[str, Any] = json.loads(workspace.runs.text(key, "witness.json"))
    except NotFound:
        return {}
    return seen


def _machines(then: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    names = [name for name in COMPARED if then and then.get(name) != now.get(name)]
    return tuple(f"{name} was {then.get(name)}, is {now.get(name)}" for name in names)
