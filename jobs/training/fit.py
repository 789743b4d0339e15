"""Runs one training on the cluster: Ray Train over the worker loop, MLflow beside it, a logged model at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from ...platform.data import Snapshot
from ...platform.errors import RayloopError, Unavailable
from ...platform.model.schema import Schema, fit_schema
from ...platform.project import Project
from ...platform.registry import Tracker
from ...platform.workspace import Workspace
from ..report import say
from .artifact import LoggedModel, log_artifact
from .callback import EpochReporter
from .data import part_tables
from .loop import Plan, TrainingDiverged
from .provenance import log_provenance
from .witness import log_witness
from .worker import STATE_FILE, train_worker


class TrainingFailed(RayloopError):
    """The workers failed more often than train.max_failures allows, or in the same way each time."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Fitted:
    """A finished training: its logged model, and the last epoch's metrics."""

    logged: LoggedModel
    metrics: Mapping[str, float]
    best_score: float
    wall_s: float


def require_resources(project: Project) -> None:
    """Raise Unavailable where the cluster has not what the project demands, before anything is started."""
    have = ray.cluster_resources()
    train = project.train
    gpus, cpus = have.get("GPU", 0.0), have.get("CPU", 0.0)
    if train.gpu and gpus < train.workers:
        raise Unavailable(
            f"train.gpu is true and train.workers is {train.workers}, but the cluster has {gpus:g} GPUs: "
            "set train.gpu to false, or connect to a cluster with GPUs"
        )
    needed = train.workers * train.cpus_per_worker
    if cpus < needed:
        raise Unavailable(
            f"train.workers {train.workers} with {train.cpus_per_worker:g} CPUs each need {needed:g} CPUs, "
            f"but the cluster has {cpus:g}: `rayloop scale --cpus {needed:g}` adds them"
        )


def fit(
    workspace: Workspace,
    project: Project,
    snapshot: Snapshot,
    key: str,
    overrides: Mapping[str, Any] | None = None,
) -> Fitted:
    """Train once. `key` names the run: the same key goes on where an earlier try of it stopped.

    Raises TrainingDiverged, TrainingFailed or Unavailable; the run is marked failed in MLflow then.
    """
    began_s = time.monotonic()
    require_resources(project)
    plan = Plan.of(project, overrides)
    schema = fit_schema(part_tables(snapshot, project)["train"], project)
    tracker = Tracker(workspace.settings, project.name, key, kind="train")
    log_provenance(tracker, project, snapshot, plan)
    try:
        state = _run(workspace, project, snapshot, schema, plan, tracker, key)
    except Exception:
        tracker.finish("FAILED")
        raise
    tracker.log_history(state["history"])  # what the reporter told already is not told again, and what it lost is
    logged = log_artifact(tracker, project, schema, plan, state["best"], snapshot)
    tracker.finish()
    last = state["history"][-1]
    return Fitted(logged, last, float(state["best_score"]), time.monotonic() - began_s)


def _run(
    workspace: Workspace,
    project: Project,
    snapshot: Snapshot,
    schema: Schema,
    plan: Plan,
    tracker: Tracker,
    key: str,
) -> dict[str, Any]:
    train = project.train
    say(f"training on {train.workers} {'GPU' if train.gpu else 'CPU'} worker(s), {plan.epochs} epochs")
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "project": project.model_dump(mode="json", by_alias=True),
            "schema": schema.to_dict(),
            "plan": asdict(plan),
            "snapshot": snapshot.digest,
            "store": workspace.settings.store,
        },
        scaling_config=ScalingConfig(
            num_workers=train.workers, use_gpu=train.gpu, resources_per_worker=_worker_resources(project)
        ),
        run_config=RunConfig(
            name=key,
            storage_path=workspace.store.uri("train"),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            # Without a limit Ray retries a run that can't be scheduled for ever.
            failure_config=FailureConfig(max_failures=train.max_failures, controller_failure_limit=3),
            callbacks=[EpochReporter(workspace.settings, project.name, key, plan.epochs)],
        ),
    )
    try:
        result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise _our_error(error) from None
    if result.error is not None:
        raise _our_error(result.error)
    with result.checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
    log_witness(tracker, state["kept"])
    return state


def _worker_resources(project: Project) -> dict[str, float]:
    resources = {"CPU": project.train.cpus_per_worker}
    return {**resources, "GPU": 1.0} if project.train.gpu else resources


def _our_error(error: BaseException) -> RayloopError:
    """The error of ours that a worker raised, out of Ray's wrappers; or one sentence about the first other one."""
    causes = [error, *getattr(error, "worker_failures", {}).values()]
    for cause in causes:
        while cause is not None:
            if isinstance(cause, RayloopError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    last = causes[-1]
    lines = [line for line in str(last).strip().splitlines() if line.strip()]
    return TrainingFailed(f"training failed: {lines[-1].strip() if lines else type(last).__name__}")


__all__ = ["Fitted", "TrainingDiverged", "TrainingFailed", "fit", "log_provenance", "require_resources"]
