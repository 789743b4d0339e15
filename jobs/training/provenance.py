"""Writes down all that is needed to train a run again: settings, seeds, data, code, environment."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from ...platform.data import Snapshot, bundle_code, code_state
from ...platform.errors import RayloopError
from ...platform.project import Project
from ...platform.registry import Tracker, environment_lock
from ..report import say
from .admission import shown_workers
from .loop import Plan

CODE_FILE, DIFF_FILE, LOCK_FILE, PROJECT_FILE, MANIFEST_FILE, PLAN_FILE = (
    "code.json",
    "code.diff",
    "environment.txt",
    "project.json",
    "manifest.json",
    "plan.json",
)


def log_provenance(tracker: Tracker, project: Project, snapshot: Snapshot, plan: Plan) -> None:
    """All that is needed to train again, in the run; nothing of it can fail the training."""
    train = project.train
    params = {**asdict(plan), "workers": shown_workers(project), "gpu": train.gpu, "task": project.task.use}
    params |= {"snapshot": snapshot.digest, "rows": snapshot.manifest.rows, "torch": torch.__version__}
    tracker.log_params(params, {"rayloop.seed": str(plan.seed)})
    tracker.log_text(PLAN_FILE, json.dumps(asdict(plan), indent=1))
    log_origin(tracker, project, snapshot)


def log_origin(tracker: Tracker, project: Project, snapshot: Snapshot) -> None:
    """What a run begins with: its project, data, code and environment; a search knows no more until it ends."""
    tags = {"rayloop.snapshot": snapshot.digest}
    folder = Path.cwd()
    code = code_state(folder)
    if code:
        tags["mlflow.source.git.commit"] = code["commit"]
        tracker.log_text(CODE_FILE, json.dumps({name: text for name, text in code.items() if name != "diff"}, indent=1))
        tracker.log_text(DIFF_FILE, code["diff"])
    try:
        tags["rayloop.code"] = bundle_code(folder, snapshot.store)
    except RayloopError as error:
        say(f"the code is not kept, so this run can't be reproduced: {error}")
    tracker.log_params({}, tags)
    tracker.log_text(LOCK_FILE, environment_lock())
    tracker.log_text(PROJECT_FILE, project.model_dump_json(by_alias=True, indent=1))
    tracker.log_text(MANIFEST_FILE, snapshot.manifest.to_json().decode())
