"""The pipeline job: snapshot, train, register, deploy, canary, promote or roll back; each step is a durable row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click
import ray

from ..platform.errors import RayloopError, Unavailable
from ..platform.project import Project
from ..platform.registry.registry import CHALLENGER, CHAMPION
from ..platform.rollout import ArmCounts, CanaryDecision, decide
from ..platform.settings import Settings
from ..platform.state import Deployment, PipelineRun
from ..platform.traffic.captured import Window, count_answers
from ..platform.workspace import Workspace
from ..serve.versions import deploy_version, remove_version
from .data import add_data
from .promotion import WHOLE, promote_version, serve_options
from .report import run_job, say
from .train import train
from .training.plan import SEARCHED
from .tune import tune

WATCH_PERIOD_S = 0.5

Output = dict[str, Any]


class Stop(Exception):
    """A step found that the run ends here, in `state`, for `reason`."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(state, reason)
        self.state, self.reason = state, reason


class Pipeline:
    """One pipeline run. Steps that are done are not done again; one that was cut off is, and comes to the same end."""

    def __init__(self, workspace: Workspace, run: PipelineRun) -> None:
        self._workspace = workspace
        self._run = run
        project, _ = workspace.projects.load(run.project)
        self._project: Project = project
        self._done: dict[str, Output] = {}

    def execute(self) -> Mapping[str, Any]:
        """Walk the steps to the end; returns the run's end state and what the steps gave."""
        pipelines = self._workspace.pipelines
        if self._run.has_ended:
            return {"run": self._run.id, "state": self._run.state, "reason": "it ended before"}
        steps: list[Callable[[], Output]] = [
            self.snapshot,
            self.train,
            self.deploy,
            self.canary,
            self.promote,
        ]
        try:
            for position, step in enumerate(steps):
                self._done[step.__name__] = self._once(step, position)
            state, reason = "promoted", str(self._done["canary"]["reason"])
        except Stop as stop:
            state, reason = stop.state, stop.reason
        except Unavailable:
            raise  # a server is away: the steward tries again, and the step with it
        except RayloopError as error:
            state, reason = "failed", str(error)  # the same again would end the same way
        pipelines.set_state(self._run.id, state, reason=reason)
        say(f"pipeline run {self._run.id} ended: {state}, {reason}")
        return {"run": self._run.id, "state": state, "reason": reason, "steps": self._done}

    def snapshot(self) -> Output:
        """Take in the rows that are labelled now; without new ones there is nothing to learn."""
        added = add_data(self._workspace, self._project, say)
        rows = added.snapshot.manifest.rows
        champion = self._workspace.registry.alias(self._project.name, CHAMPION)
        if champion is not None:
            tags = self._workspace.registry.version(self._project.name, champion).tags
            if tags.get("rayloop.snapshot") == added.snapshot.digest:
                raise Stop("rejected", f"no labelled rows are new since champion v{champion} was trained")
        return {"digest": added.snapshot.digest, "rows": rows, "champion": champion}

    def train(self) -> Output:
        """Train (or search) on the new snapshot, and validate against the champion on its held-out rows."""
        digest = self._done["snapshot"]["digest"]
        key = f"{self._run.id}-train"
        project = self._as_champion()
        work = tune if project.retrain.search else train
        output = dict(work(self._workspace, project, digest, key))
        if not output["passed"]:
            raise Stop("rejected", f"v{output['version']} broke a gate")
        return output

    def deploy(self) -> Output:
        """Bring the challenger up beside the champion, without traffic."""
        version = int(self._done["train"]["version"])
        registry = self._workspace.registry
        artifact = registry.version(self._project.name, version).artifact
        wanted = Deployment(self._project.endpoint, version, artifact, serve_options(self._project))
        deploy_version(self._workspace, wanted, say)
        registry.move_alias(self._project.name, CHALLENGER, version, f"pipeline run {self._run.id}")
        return {"version": version, "artifact": artifact}

    def canary(self) -> Output:
        """Give the challenger its share and watch both until the counts decide."""
        challenger = int(self._done["deploy"]["version"])
        champion = self._champion_in_traffic(challenger)
        if champion is None:
            return {"action": "promote", "reason": "there was no champion to compare with", "answers": 0}
        canary = self._project.serve.canary
        weight = round(canary.share / 100 * WHOLE)
        split = self._workspace.endpoints.set_split(
            self._project.endpoint,
            {champion: WHOLE - weight, challenger: weight},
            f"canary of {self._run.id}",
        )
        say(f"canary: v{challenger} gets {canary.share:g} % (revision {split.revision})")
        decision, counts = self._watch(champion, challenger)
        return {
            "champion": champion,
            "action": decision.action,
            "reason": decision.reason,
            "answers": counts.answers,
        }

    def promote(self) -> Output:
        """All traffic to the challenger; the old champion stays warm for a rollback; older versions go, shadows stay.

        Where the canary decided otherwise, the challenger goes: its decision is written down before it is acted on.
        """
        version = int(self._done["deploy"]["version"])
        if self._done["canary"]["action"] != "promote":
            self._roll_back(version)
        promote_version(self._workspace, self._project, version, f"pipeline run {self._run.id}")
        previous = self._done["canary"].get("champion")
        shadows = {shadow.version for shadow in self._workspace.endpoints.split(self._project.endpoint).shadows}
        for found in self._workspace.endpoints.deployments(self._project.endpoint):
            if found.version not in {version, previous} | shadows:
                remove_version(self._workspace, found.endpoint, found.version)
        return {"version": version, "previous": previous}

    def _once(self, step: Callable[[], Output], position: int) -> Output:
        pipelines, name = self._workspace.pipelines, step.__name__
        known = pipelines.begin_step(self._run.id, name, position)
        if known is not None and known.ended_s is not None:
            say(f"step {name}: done before")
            return dict(known.output)
        say(f"step {name}")
        began_s = time.monotonic()
        output = step() | {"wall_s": round(time.monotonic() - began_s, 2)}
        pipelines.end_step(self._run.id, name, output)
        return output

    def _as_champion(self) -> Project:
        """The project with the settings that the champion was trained with, which a search may have chosen."""
        champion = self._done["snapshot"]["champion"]
        if champion is None or self._project.retrain.search:
            return self._project
        tags = self._workspace.registry.version(self._project.name, int(champion)).tags
        plan = json.loads(tags.get("rayloop.plan", "{}"))
        chosen = {name: plan[name] for name in SEARCHED if name in plan}
        task = self._project.task.model_copy(update={"params": plan.get("params", self._project.task.params)})
        settings = self._project.train.model_copy(update=chosen)
        return self._project.model_copy(update={"train": settings, "task": task})

    def _champion_in_traffic(self, challenger: int) -> int | None:
        """The version with most traffic; never the challenger, which has half of it in a canary of 50 %."""
        splits = [found for found in self._workspace.endpoints.splits() if found.endpoint == self._project.endpoint]
        others = [variant for split in splits for variant in split.variants if variant.version != challenger]
        return max(others, key=lambda variant: variant.weight).version if others else None

    def _watch(self, champion: int, challenger: int) -> tuple[CanaryDecision, ArmCounts]:
        steps = {step.name: step for step in self._workspace.pipelines.steps(self._run.id)}
        began_s = steps["canary"].started_s  # of the first attempt: what was seen before a restart counts
        said = ""
        while True:
            counts = [self._count(version, began_s) for version in (champion, challenger)]
            decision = decide(counts[0], counts[1], time.time() - began_s, self._project.serve.canary)
            if decision.action != "watch":
                say(f"canary: {decision.action.replace('_', ' ')}, {decision.reason}")
                return decision, counts[1]
            if decision.reason != said:
                said = decision.reason
                say(f"canary: {said}")
            time.sleep(WATCH_PERIOD_S)

    def _count(self, version: int, since_s: float) -> ArmCounts:
        store, window = self._workspace.store, Window(since_s, time.time() + 1)
        return ArmCounts(*count_answers(store.filesystem, store.path(""), self._project.endpoint, version, window))

    def _roll_back(self, challenger: int) -> NoReturn:
        """Back to the champion alone; after a crash halfway it comes to the same end."""
        workspace, endpoint, canary = self._workspace, self._project.endpoint, self._done["canary"]
        workspace.endpoints.set_split(endpoint, {int(canary["champion"]): WHOLE}, canary["reason"])
        workspace.registry.move_alias(self._project.name, CHALLENGER, None, canary["reason"])
        remove_version(workspace, endpoint, challenger)
        raise Stop("rolled_back" if canary["action"] == "roll_back" else "inconclusive", canary["reason"])


@click.command()
@click.argument("run_id")
def main(run_id: str) -> None:
    """Execute a pipeline run, or take it up where it stopped."""

    def work() -> Mapping[str, Any]:
        workspace = Workspace(Settings.load())
        run = workspace.pipelines.get(run_id)
        ray.init(log_to_driver=True, configure_logging=False)
        return Pipeline(workspace, run).execute()

    run_job(work)


if __name__ == "__main__":
    main()
