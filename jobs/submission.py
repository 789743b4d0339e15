"""Starts, follows, stops and resumes training runs as Ray jobs, from another process; `train` is the Python API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cluster import Cluster
from ..platform.errors import Conflict, NotFound, Unavailable
from ..platform.project import Project, find_project, load_project
from ..platform.settings import Settings
from ..platform.state import Run
from ..platform.state.runs import FAILED, FINISHED, RUNNING, STOPPED
from ..platform.workspace import Workspace
from .data import add_data, remember_project
from .remote import Say, Show, run_remote
from .report import Progress

STOP_TIMEOUT_S = 30.0
UNDER_WAY = frozenset({"PENDING", "RUNNING"})  # states of a Ray job
KINDS = ("train", "tune")  # those that `resume` can submit again


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training gave: a registered version, and what was measured of it on held-out rows."""

    model: str
    version: int
    passed: bool
    """True where it kept its gates, so that it may be served."""
    metrics: Mapping[str, float]
    sha256: str
    """Of the artifact, all files together."""
    key: str
    """The run's name: `rayloop runs`, `logs`, `reproduce`."""
    run_id: str
    """MLflow's name of the run."""
    snapshot: str
    wall_s: float


def train(
    project: str | Path | None = None,
    *,
    snapshot: str | None = None,
    key: str | None = None,
    address: str | None = None,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train a project on the cluster, validate the version against the champion, register it.

    `project` is its folder or file, default the working folder. `snapshot` is the digest of one, default the source
    as it is now. A run with the `key` of one that stopped goes on from its last checkpoint. Raises RayloopError.
    """
    workspace = Workspace(settings or Settings.load(address=address))
    try:
        path = find_project(None if project is None else Path(project))
        result = start(
            workspace, "train", path, snapshot, key, on_line or (lambda _: None), on_progress or (lambda _: None)
        )
    finally:
        workspace.close()
    return to_result(result)


def to_result(result: Mapping[str, Any]) -> TrainResult:
    """The typed result of what a job printed."""
    return TrainResult(**{name: result[name] for name in TrainResult.__dataclass_fields__})


def start(
    workspace: Workspace, kind: str, path: Path, snapshot: str | None, key: str | None, say: Say, show: Show | None
) -> dict[str, Any]:
    """Submit a run of the project at `path` and follow it to its result.

    Raises Conflict where a run of this key is under way.
    """
    cluster = Cluster.connect(settings=workspace.settings)  # before anything is stored
    project = load_project(path)
    key = key or f"{project.name}-{kind}-{uuid.uuid4().hex[:8]}"
    known = _known(workspace, cluster, key)
    remember_project(workspace, project, path.parent)
    code = workspace.projects.load(project.name)[1]
    if snapshot is None:
        snapshot = known.snapshot if known and known.snapshot else add_data(workspace, project, say).snapshot.digest
    return _submit(workspace, cluster, kind, key, snapshot, code, known, say, show)


def start_here(
    workspace: Workspace, kind: str, snapshot: str | None, key: str | None = None
) -> tuple[Project, dict[str, Any]]:
    """Start a run of the working folder's project as a verb does: with a live line, and its result to show."""
    from .progress import ProgressLine

    path = find_project()
    with ProgressLine() as line:
        result = start(workspace, kind, path, snapshot, key, line.say, line.show)
    return load_project(path), result


def resume(workspace: Workspace, run: Run, say: Say, show: Show | None) -> tuple[Project, dict[str, Any]]:
    """Let a stopped or failed run go on from its last checkpoint, with the code and the data that it had.

    Raises Conflict where it is under way, where it ended well, or where a pipeline owns it.
    """
    if run.has_ended and run.version is not None:
        raise Conflict(f"run {run.key} has ended well: it is {run.project} v{run.version}")
    cluster = Cluster.connect(settings=workspace.settings)
    run = observed(run, cluster)
    if not run.has_ended:
        raise Conflict(f"run {run.key} is under way: `rayloop logs {run.key} -f` follows it")
    _require_own(workspace, run, "resume")
    if run.kind not in KINDS:
        raise Conflict(f"run {run.key} is a {run.kind}, which can't be resumed: start it again")
    if not run.code or not run.snapshot:
        raise NotFound(f"run {run.key} kept neither code nor data before it stopped: start a new one")
    project, _ = workspace.projects.load(run.project)
    return project, _submit(workspace, cluster, run.kind, run.key, run.snapshot, run.code, run, say, show)


def stop(workspace: Workspace, run: Run) -> Run:
    """End a run; its checkpoints stay. Raises Conflict where it has ended, or where a pipeline owns it."""
    if run.has_ended:
        raise Conflict(f"run {run.key} has ended already: {run.state}")
    cluster = Cluster.connect(settings=workspace.settings)
    run = observed(run, cluster)
    if run.has_ended:
        raise Conflict(f"run {run.key} has ended already: {run.state}")
    _require_own(workspace, run, "stop")
    if not run.jobs:
        raise Conflict(f"run {run.key} is part of no Ray job that could be stopped: end its process")
    _end(cluster, run.jobs[-1])
    run = workspace.runs.get(run.key)
    if run.state == FINISHED and run.version is None:
        raise Conflict(
            f"run {run.key} had trained to its end, and is stopped before it was registered: "
            f"`rayloop resume {run.key}` registers it"
        )
    if run.has_ended:  # its last step was quicker
        raise Conflict(f"run {run.key} has ended already: {run.state}")
    from ..platform.registry import Tracker  # MLflow takes over a second to import

    tracker = Tracker(workspace.settings, run.project, run.key, run.kind)
    tracker.finish("KILLED")
    return workspace.runs.change(run.key, epoch=run.epoch, metrics=dict(run.metrics))


def stop_job(workspace: Workspace, job: str) -> None:
    """End a job that is no run: a drift job, or a training that has not come to its record yet.

    Raises NotFound where there is none, Conflict where it has ended, or where it is the steward's.
    """
    from .steward import job_id

    cluster = Cluster.connect(settings=workspace.settings)
    state = cluster.job_state(job)
    if state not in UNDER_WAY:
        raise Conflict(f"job {job} has ended already: {state.lower()}")
    if job in {job_id(run.id, run.attempts) for run in workspace.pipelines.runs()}:
        raise Conflict(f"job {job} is one of a pipeline run, which the steward would start again")
    _end(cluster, job)


def _end(cluster: Cluster, job: str) -> None:
    cluster.cancel(job)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while cluster.job_state(job) in UNDER_WAY:
        if time.monotonic() > deadline:
            raise Unavailable(f"job {job} did not stop within {STOP_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


def observed(run: Run, cluster: Cluster) -> Run:
    """The run as its job stands: a process that was killed wrote nothing of its end."""
    if run.has_ended or not run.jobs:
        return run
    try:
        state = cluster.job_state(run.jobs[-1])
    except NotFound:
        return replace(run, state=STOPPED, error="its cluster is gone")
    if state in UNDER_WAY:
        return run
    return replace(run, state=STOPPED if state == "STOPPED" else FAILED, error=run.error or f"its job {state.lower()}")


def _submit(
    workspace: Workspace,
    cluster: Cluster,
    kind: str,
    key: str,
    snapshot: str,
    code: str,
    known: Run | None,
    say: Say,
    show: Show | None,
) -> dict[str, Any]:
    # Ray runs no name twice, so each further attempt has one of its own; one that soon failed is in no record.
    attempt = len(known.jobs) if known else 0
    while _is_taken(cluster, job := f"{key}-{attempt + 1}" if attempt else key):
        attempt += 1
    return run_remote(workspace, kind, ["--snapshot", snapshot, "--key", key], say, code, job=job, show=show)


def _is_taken(cluster: Cluster, job: str) -> bool:
    try:
        cluster.job_state(job)
    except NotFound:
        return False
    return True


def _known(workspace: Workspace, cluster: Cluster, key: str) -> Run | None:
    try:
        run = observed(workspace.runs.get(key), cluster)
    except NotFound:
        return None
    if run.state == RUNNING:
        raise Conflict(f"run {key} is under way: `rayloop logs {key} -f` follows it")
    return run


def _require_own(workspace: Workspace, run: Run, verb: str) -> None:
    """Raise Conflict for a pipeline's run: the steward starts its job again, and a second one would be in its way."""
    owner = run.key.removesuffix("-train")
    if owner != run.key and owner in {found.id for found in workspace.pipelines.runs()}:
        raise Conflict(
            f"run {run.key} is a step of pipeline run {owner}, which the steward keeps going: can't {verb} it"
        )
