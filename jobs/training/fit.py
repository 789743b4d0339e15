"""Runs one training on the cluster: Ray Train over the worker loop, MLflow beside it, a logged model at the end."""

from __future__ import annotations

import io
import math
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from ...platform.data import Snapshot
from ...platform.errors import RayloopError, Unavailable
from ...platform.model.schema import Schema
from ...platform.project import Project
from ...platform.state.runs import require_key
from ...platform.workspace import Workspace
from ..report import say
from .admission import lacking, minutes_to_wait, shown_workers, wait_for_resources
from .callback import EpochReporter
from .checkpoint import Checkpoints
from .loop import Plan, TrainingDiverged
from .preparation import prepare
from .reader import open_parts
from .run import Run, fingerprint, raise_failure
from .warming import WORKER_VARIABLES
from .witness import log_witness
from .worker import STATE_FILE, train_worker

if TYPE_CHECKING:  # these import MLflow, which takes most of a second: the first step does not wait for it
    from ...platform.registry import Tracker
    from .artifact import LoggedModel

BYTES_OF_CELL = 20  # of a table and its tensors, while one is made of the other
ELASTIC_LOOK_S = 20.0  # between looks for room for more workers; to take it up costs a restart
MOST_NICENESS = 19
LEAST_TRIES = 3  # of Ray's controller, which may also fail for a moment's reason
MEMORY_SHARE = 0.5  # of a node's memory that rows may take before they are streamed


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
    if reason := lacking(project, ray.cluster_resources()):
        raise Unavailable(reason)


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
    require_key(key)
    wait_for_resources(project, ray.cluster_resources, ray.available_resources, say)
    plan = _with_input(Plan.of(project, overrides), project, snapshot)
    parts = open_parts(snapshot, project, plan.input)
    schema, plan = prepare(plan, project, parts)
    run = Run(workspace.store, key)
    run.begin(fingerprint(project, plan, schema, snapshot, Path.cwd()))
    run.forget_failure()
    with ThreadPoolExecutor(1, "begins the run") as pool:
        begun: Future[Tracker] = pool.submit(_begin_run, workspace, project, snapshot, plan, key)
        try:
            state = _train(workspace, project, snapshot, schema, plan, run)
        except Exception:
            with suppress(RayloopError):  # the store may be what fails: its first sentence says more than its last
                begun.result().finish("FAILED")
            raise
        tracker = begun.result()
    from .artifact import log_artifact

    log_witness(tracker, state["kept"])
    tracker.log_history(state["history"])  # what the reporter told already is not told again, and what it lost is
    logged = log_artifact(tracker, project, schema, plan, state["best"], parts)
    tracker.finish()
    last = state["history"][-1]
    return Fitted(logged, last, float(state["best_score"]), time.monotonic() - began_s)


def _begin_run(workspace: Workspace, project: Project, snapshot: Snapshot, plan: Plan, key: str) -> Tracker:
    """Write down what is trained, while the workers start; their imports go before MLflow's."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), MOST_NICENESS)  # of this thread alone
    from ...platform.registry import Tracker
    from .provenance import log_provenance

    tracker = Tracker(workspace.settings, project.name, key, kind="train")
    log_provenance(tracker, project, snapshot, plan)
    return tracker


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """Without two processes of Ray Train's that each take a second to import at the first step.

    For its cleaner every start waits, and a placement group ends with our job anyhow; and there are no Ray datasets.
    """

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()
        return [one for one in made if not isinstance(one, (PlacementGroupCleanerCallback, DatasetsCallback))]


def _train(
    workspace: Workspace,
    project: Project,
    snapshot: Snapshot,
    schema: Schema,
    plan: Plan,
    run: Run,
) -> dict[str, Any]:
    """The last checkpoint of the run, whose training is at its end."""
    checkpoints = Checkpoints(workspace.store, run.checkpoints, project.train.checkpoint.keep)
    if (ended := _last_state(checkpoints)) is not None:
        say("the training was at its end already")
        return ended
    train = project.train
    workers = train.least_workers, train.most_workers
    say(f"training on {shown_workers(project)} {'GPU' if train.gpu else 'CPU'} worker(s), {plan.epochs} epochs")
    trainer = _Trainer(
        train_worker,
        train_loop_config={
            "project": project.model_dump(mode="json", by_alias=True),
            "schema": schema.to_dict(),
            "plan": asdict(plan),
            "snapshot": snapshot.digest,
            "store": workspace.settings.store,
            "key": run.key,
            "began_s": time.time(),
        },
        scaling_config=ScalingConfig(
            num_workers=workers if workers[0] < workers[1] else workers[0],
            use_gpu=train.gpu,
            resources_per_worker=_worker_resources(project),
            elastic_resize_monitor_interval_s=ELASTIC_LOOK_S,
        ),
        run_config=RunConfig(
            name=run.key,
            storage_path=workspace.store.uri("train"),
            failure_config=FailureConfig(
                max_failures=train.max_failures, controller_failure_limit=_minutes_to_replace(project)
            ),
            worker_runtime_env={"env_vars": dict(WORKER_VARIABLES)},
            callbacks=[EpochReporter(workspace.settings, project.name, run.key, plan.epochs)],
        ),
    )
    try:
        result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise _our_error(error, project) from None
    if result.error is not None:
        raise _our_error(result.error, project)
    raise_failure(result.return_value or {})
    state = _last_state(checkpoints)
    if state is None:
        raise TrainingFailed(
            f"training ended, but its last checkpoint is not in {workspace.store.shown(run.checkpoints)}"
        )
    return state


def _last_state(checkpoints: Checkpoints) -> dict[str, Any] | None:
    """The state at the end of the training; None where it has none yet."""
    found = checkpoints.latest(say)
    if found is None or not found[0].about["is_last"]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(found[1][STATE_FILE]), map_location="cpu", weights_only=True)
    return state


def _with_input(plan: Plan, project: Project, snapshot: Snapshot) -> Plan:
    """Where the project leaves it open: in memory where the smallest node holds the rows of all workers."""
    if project.train.input != "auto" or project.task.use == "forecast":
        return plan
    nodes = [node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]]
    cells = snapshot.manifest.rows * len(snapshot.manifest.columns)
    needed = cells * BYTES_OF_CELL * project.train.most_workers
    return replace(plan, input="memory" if needed <= min(nodes, default=math.inf) * MEMORY_SHARE else "stream")


def _minutes_to_replace(project: Project) -> int:
    """How long lost workers wait for another place: without a limit Ray tries for ever, a minute each time."""
    return max(LEAST_TRIES, math.ceil(minutes_to_wait(project)))


def _worker_resources(project: Project) -> dict[str, float]:
    resources = {"CPU": project.train.cpus_per_worker}
    return {**resources, "GPU": 1.0} if project.train.gpu else resources


def _our_error(error: BaseException, project: Project) -> RayloopError:
    """The error of ours that a worker raised, out of Ray's wrappers; or one sentence about the first other one."""
    if isinstance(getattr(error, "controller_failure", None), WorkerGroupStartupTimeoutError):
        reason = lacking(project, ray.cluster_resources()) or "others use what train.workers need"
        return Unavailable(
            f"workers that were lost found no place in {_minutes_to_replace(project)} minutes (train.queue_minutes): "
            f"{reason}; the same --key goes on from the last checkpoint"
        )
    causes = [error, *getattr(error, "worker_failures", {}).values()]
    for cause in causes:
        while cause is not None:
            if isinstance(cause, RayloopError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    last = causes[-1]
    lines = [line for line in str(last).strip().splitlines() if line.strip()]
    return TrainingFailed(f"training failed: {lines[-1].strip() if lines else type(last).__name__}")


__all__ = ["Fitted", "TrainingDiverged", "TrainingFailed", "fit", "require_resources"]
