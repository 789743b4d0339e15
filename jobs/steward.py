"""The control loop that starts the pipeline runs that triggers asked for, and takes up those that stopped halfway."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ..cluster import Cluster
from ..platform.data import unpack_code
from ..platform.errors import NotFound, RayloopError
from ..platform.settings import Settings
from ..platform.state import PipelineRun
from ..platform.workspace import Workspace

PERIOD_S = 0.5
MAX_ATTEMPTS = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do for one open pipeline run."""

    action: str  # submit, wait or give_up
    reason: str


def decide(run: PipelineRun, job_state: str | None) -> Decision:
    """What an open run needs, given the state of its newest job (None where it never had one)."""
    if job_state in {"PENDING", "RUNNING"}:
        return Decision("wait", "its job is under way")
    if run.attempts >= MAX_ATTEMPTS:
        return Decision("give_up", f"{run.attempts} jobs of it ended early")
    if job_state is None:
        return Decision("submit", "it has no job yet")
    return Decision("submit", f"its job ended as {job_state.lower()} before the run did")


class Steward:
    """Looks twice a second; all it knows is in SQL and in the cluster, so it may die at any moment."""

    def __init__(self, settings: Settings) -> None:
        self._workspace = Workspace(settings)
        self._cluster = Cluster(settings)
        self._error = ""
        threading.Thread(target=self._run, daemon=True).start()

    def step(self) -> list[Decision]:
        """Take one step for each open pipeline run."""
        runs = self._workspace.pipelines.runs()
        return [self._step_run(run) for run in runs if not run.has_ended]

    def state(self) -> str:
        """The error of the last step, empty where it went well."""
        return self._error

    def _step_run(self, run: PipelineRun) -> Decision:
        decision = decide(run, self._job_state(run))
        if decision.action == "give_up":
            self._workspace.pipelines.set_state(run.id, "failed", reason=decision.reason)
        elif decision.action == "submit":
            return self._start(run, decision)
        return decision

    def _start(self, run: PipelineRun, decision: Decision) -> Decision:
        pipelines = self._workspace.pipelines
        try:
            self._submit(run)
        except NotFound as error:  # its project or its code is gone, which must not hold up the other runs
            pipelines.set_state(run.id, "failed", reason=str(error))
            return Decision("give_up", str(error))
        # A steward that dies here submits the same id again, which Ray refuses. The job may have ended the run by now.
        if not pipelines.get(run.id).has_ended:
            pipelines.set_state(run.id, "running", attempt=True, reason=decision.reason)
        return decision

    def _job_state(self, run: PipelineRun) -> str | None:
        if run.attempts == 0:
            return None
        try:
            return self._cluster.job_state(job_id(run.id, run.attempts))
        except NotFound:
            return "LOST"

    def _submit(self, run: PipelineRun) -> None:
        _, code = self._workspace.projects.load(run.project)
        with tempfile.TemporaryDirectory(prefix="rayloop-code-") as folder:
            unpack_code(code, self._workspace.store, Path(folder))
            self._cluster.submit(
                f"python -m rayloop.jobs.pipeline {run.id}",
                submission_id=job_id(run.id, run.attempts + 1),
                working_dir=folder,
                env={"RAYLOOP_ACTOR": "steward", "RAYLOOP_ADDRESS": self._workspace.settings.address},
            )

    def _run(self) -> None:
        while True:
            try:
                self.step()
                self._error = ""
            except (RayloopError, SQLAlchemyError, OSError) as error:
                if str(error) != self._error:
                    logger.warning("steward: %s", error)
                self._error = str(error)
            time.sleep(PERIOD_S)


def job_id(run_id: str, attempt: int) -> str:
    """The Ray job of a run's n-th attempt: the same name is never run twice."""
    return f"pipeline-{run_id}-{attempt}"
