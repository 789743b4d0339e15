"""A pipeline run is walked once: steps that ended stay done, and a step that was cut off comes to the same end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from rayloop.jobs import pipeline as pipeline_module
from rayloop.jobs.pipeline import WHOLE, Output, Pipeline, Stop
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.registry.registry import CHALLENGER, CHAMPION
from rayloop.platform.rollout import ArmCounts, CanaryDecision
from rayloop.platform.state import Deployment, PipelineRun
from rayloop.platform.traffic import Shadow
from rayloop.platform.workspace import Workspace

STEPS = ["snapshot", "train", "deploy", "canary", "promote"]


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Script:
    """What each step does when it is reached; shared by all attempts of a run."""

    done: list[str] = field(default_factory=list)
    faults: dict[str, BaseException] = field(default_factory=dict)

    def step(self, name: str, output: Output) -> Output:
        self.done.append(name)
        if name in self.faults:
            raise self.faults.pop(name)
        return output


class Scripted(Pipeline):
    """One whose steps only tell that they were called."""

    def __init__(self, workspace: Workspace, run: PipelineRun, script: Script) -> None:
        super().__init__(workspace, run)
        self.script = script

    def snapshot(self) -> Output:
        return self.script.step("snapshot", {"digest": "d" * 64, "rows": 3, "champion": None})

    def train(self) -> Output:
        return self.script.step("train", {"version": 2, "passed": True})

    def deploy(self) -> Output:
        return self.script.step("deploy", {"version": self._done["train"]["version"]})

    def canary(self) -> Output:
        return self.script.step("canary", {"action": "promote", "champion": 1, "reason": "no harm", "answers": 7})

    def promote(self) -> Output:
        return self.script.step("promote", {"version": 2, "previous": 1})


@pytest.fixture
def run(workspace: Workspace, known: Any) -> PipelineRun:
    return workspace.pipelines.create(known.project.name, "manual", "by hand")


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def attempt(workspace: Workspace, run: PipelineRun, script: Script) -> Callable[[], Scripted]:
    """One more job for the same run."""
    return lambda: Scripted(workspace, workspace.pipelines.get(run.id), script)


def test_a_run_walks_its_steps_and_writes_each_down(
    workspace: Workspace, run: PipelineRun, script: Script, attempt: Callable[[], Scripted]
) -> None:
    result = attempt().execute()
    assert (result["state"], result["reason"]) == ("promoted", "no harm")
    assert script.done == STEPS
    assert workspace.pipelines.get(run.id).state == "promoted"
    steps = workspace.pipelines.steps(run.id)
    assert [step.name for step in steps] == STEPS
    assert steps[1].output == result["steps"]["train"]
    assert steps[1].output.keys() == {"version", "passed", "wall_s"}
    assert all(step.ended_s is not None and step.ended_s >= step.started_s for step in steps)


@pytest.mark.parametrize("cut_off", STEPS)
@pytest.mark.parametrize("fault", [Crash, RuntimeError])
def test_steps_that_ended_are_not_done_again_and_one_that_was_cut_off_is(
    workspace: Workspace,
    run: PipelineRun,
    script: Script,
    attempt: Callable[[], Scripted],
    cut_off: str,
    fault: type[BaseException],
) -> None:
    script.faults[cut_off] = fault("cut off")
    with pytest.raises(fault):
        attempt().execute()
    assert not workspace.pipelines.get(run.id).has_ended
    open_step = workspace.pipelines.steps(run.id)[-1]
    assert (open_step.name, open_step.ended_s, open_step.output) == (cut_off, None, {})
    result = attempt().execute()
    assert result["state"] == "promoted"
    place = STEPS.index(cut_off)
    assert script.done == [*STEPS[: place + 1], *STEPS[place:]]
    assert list(result["steps"]) == STEPS
    again = workspace.pipelines.steps(run.id)[place]
    assert again.started_s == open_step.started_s  # what was seen before counts


@pytest.mark.parametrize(
    ("step", "state"), [("snapshot", "rejected"), ("train", "rejected"), ("promote", "rolled_back")]
)
def test_a_stop_ends_the_run_in_its_state(
    workspace: Workspace, run: PipelineRun, script: Script, attempt: Callable[[], Scripted], step: str, state: str
) -> None:
    script.faults[step] = Stop(state, "enough")
    result = attempt().execute()
    assert (result["state"], result["reason"]) == (state, "enough")
    assert workspace.pipelines.get(run.id).state == state
    assert script.done == STEPS[: STEPS.index(step) + 1]
    last = workspace.ledger.entries()[-1]
    assert (last.subject, dict(last.detail)) == (run.id, {"state": state, "reason": "enough"})


def test_a_run_that_ended_is_not_walked_again(
    workspace: Workspace, run: PipelineRun, script: Script, attempt: Callable[[], Scripted]
) -> None:
    attempt().execute()
    entries = len(workspace.ledger.entries())
    assert attempt().execute()["state"] == "promoted"
    assert script.done == STEPS
    assert len(workspace.ledger.entries()) == entries


class Registry:
    """Aliases and versions without MLflow."""

    def __init__(self) -> None:
        self.aliases: dict[str, int | None] = {CHAMPION: 1, CHALLENGER: 2}

    def alias(self, model: str, alias: str) -> int | None:
        return self.aliases.get(alias)

    def move_alias(self, model: str, alias: str, version: int | None, reason: str) -> None:
        self.aliases[alias] = version


class OnlyCanary(Scripted):
    """One with the real canary and promotion; what the counts say is scripted."""

    decision = CanaryDecision("promote", "no harm")
    canary = Pipeline.canary
    promote = Pipeline.promote

    def _watch(self, champion: int, challenger: int) -> tuple[CanaryDecision, ArmCounts]:
        self.script.step("watch", {})
        assert (champion, challenger) == (1, 2)
        return self.decision, ArmCounts(40, 3)


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    workspace.__dict__["registry"] = Registry()
    return workspace.__dict__["registry"]


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Versions taken down; the rows go, and no Ray Serve is told."""
    gone: list[int] = []

    def remove(workspace: Workspace, endpoint: str, version: int) -> None:
        workspace.endpoints.remove_deployment(endpoint, version)
        gone.append(version)

    monkeypatch.setattr(pipeline_module, "remove_version", remove)
    return gone


@pytest.fixture
def live(
    workspace: Workspace, run: PipelineRun, script: Script, registry: Registry, removed: list[int]
) -> Callable[[str], OnlyCanary]:
    """Version 1 serves, 2 is up beside it; gives attempts whose canary decides as it is told."""
    for version in (1, 2):
        workspace.endpoints.add_deployment(Deployment("toy", version, f"/models/{version}", {}))
    workspace.endpoints.set_split("toy", {1: WHOLE}, "first")

    def attempt(action: str) -> OnlyCanary:
        found = OnlyCanary(workspace, workspace.pipelines.get(run.id), script)
        found.decision = CanaryDecision(action, "the counts say so")  # type: ignore[arg-type]
        return found

    return attempt


def shares(workspace: Workspace) -> dict[int, int]:
    return {variant.version: variant.weight for variant in workspace.endpoints.split("toy").variants}


def test_a_canary_that_does_no_harm_is_promoted(
    workspace: Workspace, live: Callable[[str], OnlyCanary], registry: Registry, removed: list[int]
) -> None:
    workspace.endpoints.add_deployment(Deployment("toy", 9, "/models/9", {}))
    assert live("promote").execute()["state"] == "promoted"
    assert shares(workspace) == {2: WHOLE}
    assert registry.aliases == {CHAMPION: 2, CHALLENGER: None}
    assert removed == [9]  # the old champion stays warm


@pytest.mark.parametrize(("action", "state"), [("roll_back", "rolled_back"), ("inconclusive", "inconclusive")])
def test_a_canary_that_does_harm_is_rolled_back(
    workspace: Workspace,
    live: Callable[[str], OnlyCanary],
    registry: Registry,
    removed: list[int],
    action: str,
    state: str,
) -> None:
    result = live(action).execute()
    assert (result["state"], result["reason"]) == (state, "the counts say so")
    assert shares(workspace) == {1: WHOLE}
    assert registry.aliases == {CHAMPION: 1, CHALLENGER: None}
    assert removed == [2]


def test_a_promotion_leaves_shadows_up_and_takes_other_versions_down(
    workspace: Workspace, live: Callable[[str], OnlyCanary], removed: list[int]
) -> None:
    for version in (8, 9):
        workspace.endpoints.add_deployment(Deployment("toy", version, f"/models/{version}", {}))
    workspace.endpoints.set_shadows("toy", {9: WHOLE}, "look")
    assert live("promote").execute()["state"] == "promoted"
    assert removed == [8]
    assert workspace.endpoints.split("toy").shadows == (Shadow(9, WHOLE),)


@pytest.mark.parametrize("crash_in", ["set_split", "move_alias", "remove_version", "set_state"])
def test_a_rollback_that_was_cut_off_comes_to_the_same_end(
    workspace: Workspace,
    run: PipelineRun,
    live: Callable[[str], OnlyCanary],
    script: Script,
    removed: list[int],
    monkeypatch: pytest.MonkeyPatch,
    crash_in: str,
) -> None:
    """After each part of the rollback the job may die; the challenger never gets traffic again."""
    first = live("roll_back")
    _crash_after(first, crash_in, workspace, monkeypatch)
    with pytest.raises(Crash):
        first.execute()
    monkeypatch.undo()
    monkeypatch.setattr(pipeline_module, "remove_version", _remove_quietly)
    given = len(_splits_with(workspace, 2))
    second = live("promote")  # what the counts would say now does not matter any more
    assert second.execute()["state"] == "rolled_back"
    assert workspace.pipelines.get(run.id).state == "rolled_back"
    assert shares(workspace) == {1: WHOLE}
    assert [found.version for found in workspace.endpoints.deployments("toy")] == [1]
    assert len(_splits_with(workspace, 2)) == given
    assert script.done.count("watch") == 1


def _remove_quietly(workspace: Workspace, endpoint: str, version: int) -> None:
    workspace.endpoints.remove_deployment(endpoint, version)


def _splits_with(workspace: Workspace, version: int) -> list[Any]:
    entries = [entry for entry in workspace.ledger.entries() if entry.action == "split"]
    return [entry for entry in entries if str(version) in entry.detail["after"]]


def _crash_after(found: Pipeline, name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process end right after a call of the rollback; `set_state`: before it is written."""
    if name == "set_state":
        monkeypatch.setattr(workspace.pipelines, "set_state", _crash)
        return
    owner: Any = {"set_split": workspace.endpoints, "move_alias": workspace.registry}.get(name, pipeline_module)
    real = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        done = real(*arguments)
        is_canary_s_own = name == "set_split" and len(arguments[1]) > 1
        return done if is_canary_s_own else _crash()

    monkeypatch.setattr(owner, name, call)


def _crash(*_arguments: Any, **_options: Any) -> None:
    raise Crash


def test_with_half_of_the_traffic_the_challenger_is_not_taken_for_the_champion(
    workspace: Workspace, live: Callable[[str], OnlyCanary], script: Script
) -> None:
    """A job that died while it watched a canary of 50 % goes on watching."""
    first = live("promote")
    script.faults["watch"] = Crash()
    first._project = first._project.model_copy(update={"serve": _serve_of_half(first._project)})
    with pytest.raises(Crash):
        first.execute()
    assert shares(workspace) == {1: WHOLE // 2, 2: WHOLE // 2}
    result = live("roll_back").execute()
    assert result["state"] == "rolled_back"
    assert script.done.count("watch") == 2


def _serve_of_half(project: Any) -> Any:
    return project.serve.model_copy(update={"canary": project.serve.canary.model_copy(update={"share": 50.0})})


def test_the_first_version_of_an_endpoint_needs_no_canary(
    workspace: Workspace, run: PipelineRun, script: Script, registry: Registry, removed: list[int]
) -> None:
    workspace.endpoints.add_deployment(Deployment("toy", 2, "/models/2", {}))
    result = OnlyCanary(workspace, run, script).execute()
    assert result["state"] == "promoted"
    assert "no champion" in result["reason"]
    assert shares(workspace) == {2: WHOLE}
    assert "watch" not in script.done


def test_without_new_rows_there_is_nothing_to_learn(
    workspace: Workspace, run: PipelineRun, known: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Version:
        tags = {"rayloop.snapshot": known.snapshot.digest}

    monkeypatch.setattr(registry, "version", lambda model, number: Version, raising=False)
    result = Pipeline(workspace, run).execute()
    assert result["state"] == "rejected"
    assert "no labelled rows are new" in result["reason"]
    assert [step.name for step in workspace.pipelines.steps(run.id)] == ["snapshot"]


def test_a_fault_of_the_data_ends_the_run_and_a_missing_server_does_not(
    workspace: Workspace, run: PipelineRun, script: Script
) -> None:
    script.faults["train"] = Unavailable("no MLflow server answers")
    with pytest.raises(Unavailable):
        Scripted(workspace, run, script).execute()
    assert not workspace.pipelines.get(run.id).has_ended
    script.faults["train"] = InvalidInput("2.parquet: the target is NaN in 3 of 9 rows")
    result = Scripted(workspace, workspace.pipelines.get(run.id), script).execute()
    assert (result["state"], result["reason"]) == ("failed", "2.parquet: the target is NaN in 3 of 9 rows")
    assert workspace.pipelines.get(run.id).state == "failed"
    assert script.done == ["snapshot", "train", "train"]
