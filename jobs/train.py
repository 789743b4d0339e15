"""The train job: `python -m rayloop.jobs.train`, submitted by `rayloop train` or by `ray job submit`."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import ray

from ..platform.project import Project, find_project, load_project
from ..platform.settings import Settings
from .report import run_job, say
from .training.warming import warm_up

if TYPE_CHECKING:  # these import torch and MLflow, which take seconds: the processes of the training start meanwhile
    from ..platform.workspace import Workspace
    from .training.artifact import LoggedModel


def train(
    workspace: Workspace, project: Project, digest: str | None = None, key: str | None = None
) -> Mapping[str, Any]:
    """Train, validate against the champion, register. Returns the version and what was measured."""
    from .training.export import require_exports
    from .training.fit import fit

    require_exports(project.train.export)
    snapshot = workspace.snapshot(project.name, digest)
    key = key or f"{project.name}-train-{uuid.uuid4().hex[:8]}"
    fitted = fit(workspace, project, snapshot, key)
    say(f"trained in {fitted.wall_s:.1f} s: validation {project.metric} {fitted.best_score:.4f}")
    return validate_and_register(workspace, project, snapshot.digest, fitted.logged) | {
        "key": key,
        "validation": fitted.best_score,
        "last_epoch": dict(fitted.metrics),
        "wall_s": round(fitted.wall_s, 2),
    }


def validate_and_register(workspace: Workspace, project: Project, digest: str, logged: LoggedModel) -> dict[str, Any]:
    """The steps that follow every training, of `train` and of `tune` alike."""
    from .evaluate import register_with_verdict, validate_artifact

    snapshot = workspace.snapshot(project.name, digest)
    artifact = workspace.registry.artifact_of(logged.model_uri)
    verdict = validate_artifact(workspace, project, snapshot, artifact, logged.plan.input)
    version = register_with_verdict(workspace, project, logged, verdict, snapshot)
    measured = {f"test_{name}": value for name, value in verdict.metrics.items()}
    known = workspace.runs.get(logged.key).metrics
    workspace.runs.change(logged.key, version=version.version, metrics={**known, **measured})
    return {
        "model": project.name,
        "version": version.version,
        "run_id": logged.run_id,
        "sha256": logged.sha256,
        "snapshot": digest,
        "passed": verdict.passed,
        "metrics": dict(verdict.metrics),
    }


@click.command()
@click.argument("project_file", required=False, type=click.Path(path_type=Path))
@click.option("--snapshot", help="digest of the snapshot; default the newest, made of the source if there is none")
@click.option("--key", help="name of the run; the same name goes on where an earlier try stopped")
def main(project_file: Path | None, snapshot: str | None, key: str | None) -> None:
    """Train the project in the working folder."""

    def work() -> Mapping[str, Any]:
        path = find_project(project_file)
        project = load_project(path)
        ray.init(log_to_driver=True, configure_logging=False)
        warm_up(project.train)
        from ..platform.workspace import Workspace
        from .data import add_data, remember_project

        workspace = Workspace(Settings.load())
        if snapshot is None and not workspace.projects.snapshots(project.name):
            remember_project(workspace, project, path.parent)
            add_data(workspace, project, say)
        return train(workspace, project, snapshot, key)

    run_job(work)


class _CallableModule(ModuleType):
    """`rayloop.jobs.train(...)` is the Python API, although this module has the same name once it is imported."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Submit a training; see submission.py."""
        from .submission import train as submit

        return submit(*arguments, **options)


if __name__ == "__main__":
    main()
else:
    sys.modules[__name__].__class__ = _CallableModule
