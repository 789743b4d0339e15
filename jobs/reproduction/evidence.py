"""All that a run kept of itself, read back and checked: settings, data, what it was, and what it saw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...platform.data import Manifest, check_objects
from ...platform.errors import InvalidInput, NotFound
from ...platform.project import Project
from ...platform.registry import ModelVersion
from ...platform.state import Run
from ...platform.workspace import Workspace
from ..search.capacity import Shape


class DataChanged(InvalidInput):
    """The rows that a version was trained on are not there any more."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a version can be trained again from."""

    version: ModelVersion
    run: Run
    project: Project
    """With the settings that were trained with."""
    manifest: Manifest
    environment: str
    witness: Mapping[str, Any]
    planned_epochs: int

    @property
    def labels(self) -> tuple[str, ...]:
        """What makes a difference likely, a sentence each."""
        tags, found = self.run.tags, []
        if self.run.kind == "tune":
            found.append(f"a trial of a search; it is trained again by itself, on {self.workers} worker(s)")
            if self.project.search.scheduler == "pbt":
                found.append("of a population: it may have taken over the weights of other trials")
            if self.project.train.schedule in {"cosine", "linear"} and self.run.epoch < self.planned_epochs:
                found.append(f"its {self.project.train.schedule} schedule of {self.planned_epochs} epochs was cut off")
        if "rayloop.resumed" in tags:
            found.append(f"resumed {tags['rayloop.resumed']} time(s) from a checkpoint")
        if "rayloop.elastic" in tags:
            found.append(f"elastic: workers {tags['rayloop.elastic']}; it is trained again on {self.workers}")
        if len(set(_parts(self.witness))) > 1:
            found.append("from some epoch on its steps were computed in more parts, for lack of memory")
        if tags.get("rayloop.deterministic") == "false":
            found.append("not deterministic: train.deterministic was not set, and it ran on a GPU")
        return tuple(found)

    @property
    def workers(self) -> int:
        """On how many workers it is trained again."""
        return self.project.train.most_workers


def find_evidence(workspace: Workspace, model: str, number: int) -> Evidence:
    """Read what a version's run kept. Raises NotFound, naming what is missing."""
    version = workspace.registry.version(model, number)
    run = workspace.runs.of_mlflow(version.run_id)

    def text(name: str) -> str:
        try:
            return workspace.runs.text(run.key, name)
        except NotFound:
            raise NotFound(f"run {run.key} of {model} v{number} kept no {name}, so it can't be reproduced") from None

    project = Project.model_validate_json(text("project.json"))
    plan = json.loads(text("plan.json"))
    witness = json.loads(text("witness.json")) if run.kind == "train" else {}
    return Evidence(
        version,
        run,
        _as_planned(project, plan, run, witness),
        Manifest.from_json(text("manifest.json").encode()),
        text("environment.txt"),
        witness,
        int(plan["epochs"]),
    )


def require_data(workspace: Workspace, evidence: Evidence) -> str:
    """Hold every Parquet object against the manifest; returns a sentence. Raises DataChanged naming each file."""
    manifest = evidence.manifest
    if manifest.digest != evidence.run.snapshot:
        raise DataChanged(f"the manifest that run {evidence.run.key} kept is not that of its snapshot")
    faults = check_objects(workspace.store, manifest)
    if faults:
        raise DataChanged(f"snapshot {manifest.digest[:12]}: " + "; ".join(str(fault) for fault in faults))
    return (
        f"snapshot {manifest.digest[:12]}, {manifest.rows} rows in {len(manifest.files)} file(s), each with its SHA-256"
    )


def _parts(witness: Mapping[str, Any]) -> list[int]:
    """In how many parts each epoch computed its steps."""
    return [int(entry["accumulate"]) for entry in witness.get("epochs", [])]


def _as_planned(project: Project, plan: Mapping[str, Any], run: Run, witness: Mapping[str, Any]) -> Project:
    """The project with the settings of the plan, which a search or a champion may have chosen."""
    names = set(type(project.train).model_fields) & plan.keys()
    chosen = {name: plan[name] for name in names}
    chosen["class_weights"] = "balanced" if plan.get("weights_by_class") else "none"
    if "rayloop.world" in run.tags:  # an elastic run had others before, and can't be had again
        chosen["workers"] = int(run.tags["rayloop.world"])
    if parts := _parts(witness):
        chosen["accumulate"] = parts[-1]
    if run.kind == "tune":
        # It may have been stopped early, and its best weights count; by its own patience no trial ends.
        chosen |= {"workers": Shape.of(project).workers, "epochs": run.epoch}
        if (stop := project.train.early_stopping) is not None:
            chosen["early_stopping"] = stop.model_copy(update={"patience": run.epoch + 1})
    train = project.train.model_copy(update=chosen)
    task = project.task.model_copy(update={"params": dict(plan["params"])})
    validate = project.validate_.model_copy(update={"metric": plan["metric"]})  # a search may have had another
    return project.model_copy(update={"train": train, "task": task, "validate_": validate})
