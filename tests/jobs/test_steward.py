"""The steward submits each open run once, again when a job is lost, and gives up after some attempts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs import steward as steward_module
from rayloop.jobs.steward import MAX_ATTEMPTS, Steward, decide, job_id
from rayloop.platform.errors import NotFound, Unavailable
from rayloop.platform.settings import Settings
from rayloop.platform.state import PipelineRun, Pipelines
from rayloop.platform.workspace import Workspace


class Cluster:
    """The jobs of a cluster: an id that is known is not run twice, as Ray refuses it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.states: dict[str, str] = {}
        self.num_submits = 0
        self.is_away = False
        self.entrypoints: dict[str, str] = {}
        self.files: dict[str, list[str]] = {}
        self.env: dict[str, str] = {}

    def submit(
        self, entrypoint: str, *, submission_id: str, working_dir: str | Path, env: dict[str, str] | None = None
    ) -> str:
        if self.is_away:
            raise Unavailable("no Ray cluster answers")
        self.num_submits += 1
        if submission_id not in self.states:
            self.states[submission_id] = "PENDING"
            self.entrypoints[submission_id] = entrypoint
            self.files[submission_id] = sorted(path.name for path in Path(working_dir).iterdir())
            self.env = env or {}
        return submission_id

    def job_state(self, job: str) -> str:
        if self.is_away:
            raise Unavailable("no Ray cluster answers")
        if job not in self.states:
            raise NotFound(f"no job {job!r}")
        return self.states[job]


class StillSteward(Steward):
    """One that looks only when it is told to."""

    def _run(self) -> None:
        pass


@pytest.fixture
def cluster(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The one cluster that every steward of the test sees."""
    found = Cluster(workspace.settings)
    monkeypatch.setattr(steward_module, "Cluster", lambda settings: found)
    return found


@pytest.fixture
def run(workspace: Workspace, known: Any) -> PipelineRun:
    return workspace.pipelines.create(known.project.name, "manual", "by hand")


def new_steward(workspace: Workspace) -> Steward:
    return StillSteward(workspace.settings)


def a_run(attempts: int) -> PipelineRun:
    return PipelineRun("toy-1", "toy", "drift", "moved", "running", attempts, 0.0, 0.0)


@pytest.mark.parametrize(
    ("attempts", "job_state", "action"),
    [
        (0, None, "submit"),
        (1, "PENDING", "wait"),
        (1, "RUNNING", "wait"),
        (MAX_ATTEMPTS, "PENDING", "wait"),
        (MAX_ATTEMPTS, "RUNNING", "wait"),
        (1, "FAILED", "submit"),
        (1, "STOPPED", "submit"),
        (1, "SUCCEEDED", "submit"),  # the job ended and the run did not
        (1, "LOST", "submit"),
        (MAX_ATTEMPTS - 1, "LOST", "submit"),
        (MAX_ATTEMPTS, "FAILED", "give_up"),
        (MAX_ATTEMPTS, "LOST", "give_up"),
        (MAX_ATTEMPTS, "SUCCEEDED", "give_up"),
    ],
)
def test_decide(attempts: int, job_state: str | None, action: str) -> None:
    decision = decide(a_run(attempts), job_state)
    assert decision.action == action
    assert decision.reason


def test_a_pending_run_is_submitted_once_with_its_project_s_code(
    workspace: Workspace, cluster: Cluster, run: PipelineRun
) -> None:
    steward = new_steward(workspace)
    actions = [[decision.action for decision in steward.step()] for _ in range(4)]
    assert actions == [["submit"], ["wait"], ["wait"], ["wait"]]
    assert cluster.num_submits == 1
    job = job_id(run.id, 1)
    assert cluster.entrypoints == {job: f"python -m rayloop.jobs.pipeline {run.id}"}
    assert cluster.files[job] == ["mine.py"]
    assert cluster.env == {"RAYLOOP_ACTOR": "steward", "RAYLOOP_ADDRESS": workspace.settings.address}
    now = workspace.pipelines.get(run.id)
    assert (now.state, now.attempts) == ("running", 1)


@pytest.mark.parametrize("end", ["FAILED", "STOPPED", "SUCCEEDED", "LOST"])
def test_a_run_whose_job_is_gone_is_submitted_again_under_the_next_number(
    workspace: Workspace, cluster: Cluster, run: PipelineRun, end: str
) -> None:
    steward = new_steward(workspace)
    steward.step()
    if end == "LOST":  # a new cluster knows no jobs
        cluster.states.clear()
    else:
        cluster.states[job_id(run.id, 1)] = end
    assert [decision.action for decision in steward.step()] == ["submit"]
    assert [decision.action for decision in steward.step()] == ["wait"]
    assert cluster.states[job_id(run.id, 2)] == "PENDING"
    assert workspace.pipelines.get(run.id).attempts == 2


def test_it_gives_up_after_some_attempts(workspace: Workspace, cluster: Cluster, run: PipelineRun) -> None:
    steward = new_steward(workspace)
    actions = []
    for _ in range(MAX_ATTEMPTS + 2):
        actions += [decision.action for decision in steward.step()]
        cluster.states = dict.fromkeys(cluster.states, "FAILED")
    assert actions == ["submit"] * MAX_ATTEMPTS + ["give_up"]
    assert cluster.num_submits == MAX_ATTEMPTS
    assert workspace.pipelines.get(run.id).state == "failed"
    last = workspace.ledger.entries()[-1]
    assert (last.subject, last.detail["state"]) == (run.id, "failed")
    assert str(MAX_ATTEMPTS) in last.detail["reason"]


def test_a_crash_between_submitting_and_writing_it_down_never_doubles_a_run(
    workspace: Workspace, cluster: Cluster, run: PipelineRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(Pipelines, "set_state", _die)
        with pytest.raises(SystemExit):
            new_steward(workspace).step()
    assert workspace.pipelines.get(run.id).attempts == 0
    cluster.states[job_id(run.id, 1)] = "RUNNING"
    next_one = new_steward(workspace)
    assert [decision.action for decision in next_one.step()] == ["submit"]
    assert list(cluster.states) == [job_id(run.id, 1)]
    assert workspace.pipelines.get(run.id).attempts == 1
    assert [decision.action for decision in next_one.step()] == ["wait"]


def _die(*_arguments: Any, **_options: Any) -> None:
    raise SystemExit


def test_a_run_that_its_job_ended_meanwhile_is_not_opened_again(
    workspace: Workspace, cluster: Cluster, run: PipelineRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_at_once(*_arguments: Any, **_options: Any) -> str:
        workspace.pipelines.set_state(run.id, "rejected", reason="nothing new")
        return "job"

    monkeypatch.setattr(cluster, "submit", end_at_once)
    steward = new_steward(workspace)
    steward.step()
    assert workspace.pipelines.get(run.id).state == "rejected"
    assert steward.step() == []


def test_ended_runs_are_left_alone(workspace: Workspace, cluster: Cluster, run: PipelineRun) -> None:
    workspace.pipelines.set_state(run.id, "promoted")
    assert new_steward(workspace).step() == []
    assert cluster.num_submits == 0


def test_a_cluster_that_is_away_costs_no_attempt(workspace: Workspace, cluster: Cluster, run: PipelineRun) -> None:
    steward = new_steward(workspace)
    cluster.is_away = True
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(Unavailable):
            steward.step()
    cluster.is_away = False
    steward.step()
    assert workspace.pipelines.get(run.id).attempts == 1


def test_a_run_whose_project_is_gone_fails_and_holds_up_no_other(
    workspace: Workspace, cluster: Cluster, known: Any
) -> None:
    orphan = workspace.pipelines.create("nobody", "manual", "by hand")
    run = workspace.pipelines.create(known.project.name, "manual", "by hand")
    steward = new_steward(workspace)
    assert [decision.action for decision in steward.step()] == ["give_up", "submit"]
    assert workspace.pipelines.get(orphan.id).state == "failed"
    assert workspace.pipelines.get(run.id).state == "running"
    assert [decision.action for decision in steward.step()] == ["wait"]


def test_the_loop_goes_on_after_an_error_and_tells_the_last_one(
    workspace: Workspace, cluster: Cluster, run: PipelineRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    steward = new_steward(workspace)
    cluster.is_away = True
    seen: list[str] = []

    def pause(_seconds: float) -> None:
        seen.append(steward.state())
        cluster.is_away = len(seen) < 2
        if len(seen) == 4:
            raise SystemExit

    monkeypatch.setattr(steward_module.time, "sleep", pause)
    with pytest.raises(SystemExit):
        Steward._run(steward)
    assert seen == ["no Ray cluster answers", "no Ray cluster answers", "", ""]
