"""The tune job: Ray Tune over the same loop, ASHA stops weak trials, Optuna proposes, the best is registered."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import optuna
import ray
import ray.tune
import torch
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from ..platform.data import Snapshot, Store, open_snapshot
from ..platform.errors import InvalidInput
from ..platform.model.schema import Schema, fit_schema
from ..platform.model.task import find_task
from ..platform.project import Project, find_project, load_project
from ..platform.project.schema import LOWER_IS_BETTER
from ..platform.registry import Tracker
from ..platform.settings import Settings
from ..platform.workspace import Workspace
from .report import run_job, say
from .train import validate_and_register
from .training.artifact import LoggedModel, log_artifact
from .training.data import encode_rows, part_tables
from .training.determinism import set_determinism
from .training.export import require_exports
from .training.fit import TrainingFailed, log_provenance, require_resources
from .training.loop import Place, Plan, Training, build_module
from .training.worker import STATE_FILE


def tune(
    workspace: Workspace, project: Project, digest: str | None = None, key: str | None = None
) -> Mapping[str, Any]:
    """Search, validate the best trial against the champion, register it."""
    began_s = time.monotonic()
    if not project.search.space:
        raise InvalidInput("search.space is empty: name at least one setting to search")
    require_resources(project.model_copy(update={"train": project.train.model_copy(update={"workers": 1})}))
    require_exports(project.train.export)
    snapshot = workspace.snapshot(project.name, digest)
    key = key or f"{project.name}-tune-{uuid.uuid4().hex[:8]}"
    logged, best, trials = search(workspace, project, snapshot, key)
    return validate_and_register(workspace, project, snapshot.digest, logged) | {
        "key": key,
        "best": best,
        "trials": trials,
        "wall_s": round(time.monotonic() - began_s, 2),
    }


def search(
    workspace: Workspace, project: Project, snapshot: Snapshot, key: str
) -> tuple[LoggedModel, dict[str, Any], int]:
    """Run the trials; returns the best one's logged model, its settings, and how many trials ran."""
    schema = fit_schema(part_tables(snapshot, project)["train"], project)
    tracker = Tracker(workspace.settings, project.name, key, kind="tune")
    epochs = project.search.epochs or project.train.epochs
    shared = {
        "project": project.model_dump(mode="json", by_alias=True),
        "schema": schema.to_dict(),
        "snapshot": snapshot.digest,
        "store": workspace.settings.store,
        "epochs": epochs,
    }
    say(f"searching {project.search.trials} trials of up to {epochs} epochs, {project.search.concurrent} at a time")
    results = _tuner(project, shared, workspace.store.uri("tune"), key, epochs).fit()
    finished = [result for result in results if result.error is None and result.checkpoint is not None]
    if not finished:
        tracker.finish("FAILED")
        first = str(results[0].error).strip().splitlines()[-1] if len(results) and results[0].error else "no result"
        raise TrainingFailed(f"all {len(results)} trials failed; the first one: {first}")
    for place, result in enumerate(results):
        _log_trial(tracker, f"{key}-{place}", project, result)
    sign = 1 if project.metric in LOWER_IS_BETTER else -1
    winner = min(finished, key=lambda result: sign * result.metrics["best_score"])
    chosen = {name: winner.config[name] for name in project.search.space}
    plan = Plan.of(project, {"epochs": epochs, **chosen})
    log_provenance(tracker, project, snapshot, plan)
    with winner.checkpoint.as_directory() as folder:
        state = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
    for epoch, metrics in enumerate(state["history"], start=1):
        tracker.log_metrics(metrics, epoch)
    logged = log_artifact(tracker, project, schema, plan, state["best"], snapshot)
    tracker.finish()
    score = winner.metrics["best_score"]
    spent = sum(int(result.metrics.get("training_iteration", 0)) for result in results)
    say(f"best of {len(results)} trials, {spent} epochs in all: validation {project.metric} {score:.4f} with {chosen}")
    return logged, {**chosen, project.metric: score}, len(results)


def run_trial(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """One trial: the epoch loop in this process, a report and a checkpoint after each epoch."""
    project = Project.model_validate(shared["project"])
    schema = Schema.from_dict(shared["schema"])
    plan = Plan.of(project, {"epochs": shared["epochs"], **config})
    device = torch.device("cuda" if project.train.gpu else "cpu")
    set_determinism(project.train.deterministic, device)
    torch.set_num_threads(1)
    task = find_task(project.task.use, Path.cwd())
    tables = part_tables(open_snapshot(Store(shared["store"]), shared["snapshot"]), project)
    rows = encode_rows(task, schema, tables["train"]).to(device)
    held_out = encode_rows(task, schema, tables["validation"]).to(device)
    training = Training(task, build_module(task, schema, plan).to(device), plan, Place(device=device))
    checkpoint = ray.tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            training.restore(torch.load(Path(folder) / STATE_FILE, map_location=device, weights_only=True))
    while training.epoch < plan.epochs:
        metrics = {"train_loss": training.run_epoch(rows)}
        metrics |= {f"validation_{name}": value for name, value in training.evaluate(held_out).items()}
        training.history.append(metrics)
        with tempfile.TemporaryDirectory(prefix="rayloop-checkpoint-") as folder:
            torch.save(training.state(), Path(folder) / STATE_FILE)
            report = {**metrics, "best_score": training.best_score}
            ray.tune.report(report, checkpoint=ray.tune.Checkpoint.from_directory(folder))


def _tuner(project: Project, shared: dict[str, Any], storage: str, key: str, epochs: int) -> ray.tune.Tuner:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mode = "min" if project.metric in LOWER_IS_BETTER else "max"
    metric = f"validation_{project.metric}"
    resources = {"CPU": project.train.cpus_per_worker, **({"GPU": 1} if project.train.gpu else {})}
    sampler = OptunaSearch(metric=metric, mode=mode, seed=project.train.seed)
    return ray.tune.Tuner(
        ray.tune.with_resources(ray.tune.with_parameters(run_trial, shared=shared), resources),
        param_space={name: _domain(choice) for name, choice in project.search.space.items()},
        tune_config=ray.tune.TuneConfig(
            metric=metric,
            mode=mode,
            num_samples=project.search.trials,
            search_alg=ConcurrencyLimiter(sampler, max_concurrent=project.search.concurrent),
            scheduler=ASHAScheduler(max_t=epochs, grace_period=min(project.search.grace_epochs, epochs)),
            reuse_actors=True,
        ),
        run_config=ray.tune.RunConfig(
            name=key,
            storage_path=storage,
            verbose=0,
            checkpoint_config=ray.tune.CheckpointConfig(num_to_keep=1),
            failure_config=ray.tune.FailureConfig(max_failures=project.train.max_failures),
        ),
    )


def _domain(choice: Mapping[Any, list[Any]]) -> Any:
    ((how, values),) = choice.items()
    if how == "choice":
        return ray.tune.choice(values)
    if how == "int":
        return ray.tune.randint(values[0], values[1] + 1)
    return ray.tune.loguniform(*values) if how == "loguniform" else ray.tune.uniform(*values)


def _log_trial(tracker: Tracker, name: str, project: Project, result: Any) -> None:
    reported = result.metrics or {}
    measured = {k: v for k, v in reported.items() if k.startswith(("validation_", "train_loss"))}
    if reported.get("best_score") is not None:
        measured[f"best_validation_{project.metric}"] = reported["best_score"]
    epochs = int(reported.get("training_iteration", 0))
    settings = {key: result.config[key] for key in project.search.space}
    state = "FAILED" if result.error else "FINISHED"
    tracker.log_child(name, settings, {**measured, "epochs": epochs}, state)


@click.command()
@click.argument("project_file", required=False, type=click.Path(path_type=Path))
@click.option("--snapshot", help="digest of the snapshot; default the newest")
@click.option("--key", help="name of the run")
def main(project_file: Path | None, snapshot: str | None, key: str | None) -> None:
    """Search settings for the project in the working folder."""

    def work() -> Mapping[str, Any]:
        project = load_project(find_project(project_file))
        ray.init(log_to_driver=True, configure_logging=False)
        return tune(Workspace(Settings.load()), project, snapshot, key)

    run_job(work)


__all__ = ["main", "run_trial", "search", "tune"]

if __name__ == "__main__":
    main()
