"""Runs a search to its end: manifest, proposals, Ray Tune, then what is kept of it in MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import ray.tune
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter

from ...platform.data import Snapshot
from ...platform.model.schema import Schema
from ...platform.project import Project
from ...platform.registry import Tracker
from ...platform.workspace import Workspace
from ..report import say
from ..training.artifact import LoggedModel, log_artifact
from ..training.fit import TrainingFailed
from ..training.plan import Plan
from ..training.preparation import prepare
from ..training.provenance import log_origin, log_provenance
from ..training.reader import open_parts
from .board import CONFIG, Board, config_of
from .capacity import Room, Shape, room
from .importance import importances
from .manifest import RAY_FOLDER, Manifest, searches, terms_of
from .objectives import Objective, objectives_of, pareto, winner
from .plot import page
from .proposer import Proposer
from .schedulers import Failures, Population, scheduler_of
from .searcher import BoardSearcher
from .table import describe, importance_line, outcome_line, short, trial_lines
from .tracked import Children
from .trial import Trial
from .warm_start import earlier_trials
from .worker import plan_of, read_state, run_trial

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that is over: its best trial's model, and every trial."""

    logged: LoggedModel
    best: Trial
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]


class Search:
    """One search of a project on a snapshot, under a key by which it goes on after a kill."""

    def __init__(self, workspace: Workspace, project: Project, snapshot: Snapshot, key: str) -> None:
        self._workspace, self._project, self._snapshot = workspace, project, snapshot
        self.manifest = Manifest(workspace.store, key)
        self._objectives = objectives_of(project)
        self._epochs = project.search.epochs or project.train.epochs
        self._shape = Shape.of(project)

    def result(self) -> dict[str, Any] | None:
        """What it gave, where it is over. Raises Conflict where the key belongs to a search on other terms."""
        found = self.manifest.result()
        if found is not None:
            self.manifest.begin(self._terms())
        return found

    def run(self) -> Searched:
        """Run what is left of it. Raises Conflict, Unavailable, or TrainingFailed where no trial gave a model."""
        project, key = self._project, self.manifest.key
        limits = self._room()
        shared = shared_of(self._workspace, project, self._snapshot, self._epochs)
        schema = Schema.from_dict(shared["schema"])
        is_known = self.manifest.begin(self._terms())
        past = self.manifest.trials()
        tracker = Tracker(self._workspace.settings, project.name, key, kind="tune")
        log_origin(tracker, project, self._snapshot)
        children = Children(tracker, self._objectives)
        proposer = self._proposer(past)

        def ended(trial: Trial) -> None:
            proposer.tell(trial)
            children.log(trial)
            say(told(trial, self._objectives, self._epochs))

        board = Board(self.manifest, past, self._epochs, ended)
        self._announce(limits, past, proposer, is_known=is_known)
        if board.unfinished() or (len(board.trials) < project.search.trials and proposer.has_more):
            try:
                self._tuner(board, proposer, shared, limits).fit()
            except Exception:
                tracker.finish("FAILED")
                raise
        for trial in board.unfinished():
            board.complete(trial.number)
        children.log_missing(board.trials)
        best = winner(board.trials, self._objectives, project.search.tolerance)
        if best is None:
            tracker.finish("FAILED")
            raise TrainingFailed(_all_failed(board.trials))
        self._report(tracker, board.trials, best)
        plan = plan_of(project, shared, best.settings)
        log_provenance(tracker, project, self._snapshot, plan)
        state = read_state(ray.tune.Checkpoint(best.checkpoint, self._workspace.store.filesystem))
        tracker.log_history(state["history"])
        parts = open_parts(self._snapshot, project, plan.input)
        logged = log_artifact(tracker, project, schema, plan, state["best"], parts)
        tracker.finish()
        front = pareto(board.trials, self._objectives) if len(self._objectives) > 1 else [best]
        return Searched(logged, best, tuple(board.trials), tuple(front))

    def _terms(self) -> dict[str, Any]:
        return terms_of(self._project, self._snapshot, Path.cwd())

    def _room(self) -> Room:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        search = self._project.search
        wanted = search.trials if search.scheduler == "pbt" else search.concurrent
        return room(self._shape, wanted, nodes)

    def _proposer(self, past: list[Trial]) -> Proposer:
        search, warm = self._project.search, []
        if search.warm_start:
            known = searches(self._workspace.store)
            warm = earlier_trials(known, self._project, self._objectives, self.manifest.key)
        return Proposer(search, self._objectives, self._project.train.seed, past, warm)

    def _announce(self, limits: Room, past: list[Trial], proposer: Proposer, *, is_known: bool) -> None:
        search = self._project.search
        if limits.reason:
            say(limits.reason)
        if is_known:
            ended = sum(trial.has_ended for trial in past)
            cut_off = len(past) - ended
            say(f"search {self.manifest.key} goes on: {ended} trials ended before, {cut_off} were cut off")
        if search.warm_start:
            told_before = proposer.num_told - sum(trial.has_score for trial in past)
            say(f"earlier searches tell the searcher of {told_before} trials")
        say(
            f"search {self.manifest.key}: {search.trials} trials of up to {self._epochs} epochs, "
            f"{min(limits.concurrent, search.trials)} at a time, "
            f"by {search.searcher} with {search.scheduler}"
        )

    def _tuner(self, board: Board, proposer: Proposer, shared: Mapping[str, Any], limits: Room) -> ray.tune.Tuner:
        search, objective = self._project.search, self._objectives[0]
        num_left = len(board.unfinished()) + search.trials - len(board.trials)
        scheduler = scheduler_of(search, board, objective, self._epochs)
        space: dict[str, Any] = {}
        algorithm: Any
        if isinstance(scheduler, Population):  # Ray takes no searcher beside it, so its trials are drawn before
            _draw_population(board, proposer, search.trials)
            numbers = [trial.number for trial in board.unfinished()]
            space = {CONFIG: ray.tune.grid_search([config_of(board, number)[CONFIG] for number in numbers])}
            algorithm, num_left = BasicVariantGenerator(), 1
        else:
            searcher = BoardSearcher(board, proposer, search.trials, "score", objective.mode)
            algorithm = ConcurrencyLimiter(searcher, max_concurrent=limits.concurrent)
        # Ray snapshots after each few checkpoints, and would warn of it each time; its snapshots are not used.
        os.environ["TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S"] = "0"
        trainable = ray.tune.with_parameters(run_trial, shared=dict(shared))
        placement = ray.tune.PlacementGroupFactory([self._shape.bundle] * self._shape.workers)
        return ray.tune.Tuner(
            ray.tune.with_resources(trainable, placement),
            param_space=space,
            tune_config=ray.tune.TuneConfig(
                num_samples=num_left,
                search_alg=algorithm,
                scheduler=scheduler,
                reuse_actors=self._shape.workers == 1,
                trial_dirname_creator=_folder_of,
            ),
            run_config=ray.tune.RunConfig(
                name=RAY_FOLDER,
                storage_path=self.manifest.folder,
                verbose=0,
                # A population's trials go on from others' checkpoints, and each would remove those of the others.
                checkpoint_config=ray.tune.CheckpointConfig(num_to_keep=None if search.scheduler == "pbt" else 2),
                callbacks=[Failures(scheduler)],
                failure_config=ray.tune.FailureConfig(max_failures=self._project.train.max_failures),
            ),
        )

    def _report(self, tracker: Tracker, trials: list[Trial], best: Trial) -> None:
        say(outcome_line(trials, self._epochs))
        for line in trial_lines(trials, self._objectives, best.number):
            say(line)
        values = ", ".join(f"{one.name} {short(one.value(best))}" for one in self._objectives)
        say(f"best of {len(trials)} trials: {values} with {describe(best.settings)}")
        search, seed = self._project.search, self._project.train.seed
        title = f"{self._project.name}: search {self.manifest.key}"
        try:
            mattered = {one.name: importances(trials, search.space, one, seed) for one in self._objectives}
            for objective in self._objectives:
                say(importance_line(mattered[objective.name], objective))
            tracker.log_text("search.html", page(title, trials, self._objectives, mattered, best.number))
        except Exception as error:  # what is drawn of a search never fails it
            logger.warning("no page is kept of search %s: %s", self.manifest.key, error)


def shared_of(workspace: Workspace, project: Project, snapshot: Snapshot, epochs: int) -> dict[str, Any]:
    """What every trial of a search is given, as plain values. Raises InvalidInput for rows that can't be trained on."""
    # Where batch_size is searched, the project's own is no trial's.
    plan = Plan.of(project, {"batch_size": 1} if "batch_size" in project.search.space else {})
    schema, plan = prepare(plan, project, open_parts(snapshot, project, plan.input))
    return {
        "project": project.model_dump_json(by_alias=True),
        "use": project.task.use,
        "schema": schema.to_dict(),
        "weights_by_class": list(plan.weights_by_class),
        "snapshot": snapshot.digest,
        "store": workspace.settings.store,
        "epochs": epochs,
        "objective": objectives_of(project)[0].name,
        "deterministic": project.train.deterministic,
        **asdict(Shape.of(project)),
    }


def told(trial: Trial, objectives: tuple[Objective, ...], epochs: int) -> str:
    """One line on a trial that ended."""
    values = ", ".join(f"{objective.name} {objective.value(trial):.4f}" for objective in objectives if trial.reports)
    why = f": {trial.why}" if trial.why else ""
    return f"trial {trial.number} {trial.outcome} after {trial.epochs} of {epochs} epochs{why or f', {values}'}"


def _draw_population(board: Board, proposer: Proposer, trials: int) -> None:
    for number in range(len(board.trials), trials):
        settings = proposer.ask(number)
        if settings is None:
            return
        board.start(number, settings)


def _folder_of(trial: Any) -> str:
    return f"{trial.config[CONFIG]['number']:05}-{trial.trial_id}"


def _all_failed(trials: list[Trial]) -> str:
    first = next((trial.why for trial in trials if trial.why), "no result")
    return f"all {len(trials)} trials failed; the first one: {first}"
