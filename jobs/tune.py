"""The tune job: `python -m rayloop.jobs.tune` searches settings, validates the best trial's model, registers it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import ray

from ..platform.errors import InvalidInput
from ..platform.project import Project, find_project, load_project
from ..platform.settings import Settings
from ..platform.workspace import Workspace
from .report import run_job, say
from .search.objectives import Objective, objectives_of
from .search.run import Search, Searched
from .search.trial import Trial
from .train import validate_and_register
from .training.export import require_exports


def tune(
    workspace: Workspace, project: Project, digest: str | None = None, key: str | None = None
) -> Mapping[str, Any]:
    """Search, validate the best trial against the champion, register it.

    The same key goes on where an earlier try of it stopped; one that is over gives its result again. Raises Conflict
    where the key belongs to a search on other terms.
    """
    began_s = time.monotonic()
    if not project.search.space:
        raise InvalidInput("search.space is empty: name at least one setting to search")
    require_exports(project.train.export)
    snapshot = workspace.snapshot(project.name, digest)
    key = key or f"{project.name}-tune-{uuid.uuid4().hex[:8]}"
    search = Search(workspace, project, snapshot, key)
    known = search.result()
    if known is not None:
        say(f"search {key} is over: it gave v{known['version']}")
        return known
    searched = search.run()
    result = validate_and_register(workspace, project, snapshot.digest, searched.logged)
    result |= summary(searched, objectives_of(project))
    result |= {"key": key, "wall_s": round(time.monotonic() - began_s, 2)}
    search.manifest.end(result)
    return result


def summary(searched: Searched, objectives: tuple[Objective, ...]) -> dict[str, Any]:
    """What a search found, as plain values."""

    def values(trial: Trial) -> dict[str, Any]:
        return {**trial.settings, **{objective.name: objective.value(trial) for objective in objectives}}

    outcomes = [trial.outcome for trial in searched.trials]
    return {
        "best": values(searched.best),
        "trials": len(searched.trials),
        "epochs": sum(trial.epochs for trial in searched.trials),
        "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "pareto": [{"trial": trial.number, **values(trial)} for trial in searched.front],
    }


@click.command()
@click.argument("project_file", required=False, type=click.Path(path_type=Path))
@click.option("--snapshot", help="digest of the snapshot; default the newest")
@click.option("--key", help="name of the search; the same name goes on where an earlier try stopped")
def main(project_file: Path | None, snapshot: str | None, key: str | None) -> None:
    """Search settings for the project in the working folder."""

    def work() -> Mapping[str, Any]:
        project = load_project(find_project(project_file))
        ray.init(log_to_driver=True, configure_logging=False)
        return tune(Workspace(Settings.load()), project, snapshot, key)

    run_job(work)


__all__ = ["main", "summary", "tune"]

if __name__ == "__main__":
    main()
