"""The verbs of training runs: `runs`, `compare`, `logs`, `stop`, `resume`, `reproduce`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.state import Run
    from ..platform.workspace import Workspace


@click.command()
@click.argument("project", required=False)
@click.option("--most", default=20, show_default=True, type=click.IntRange(min=1), help="the newest so many")
@click.option("--json", "as_json", is_flag=True, help="print the whole records as JSON")
@with_workspace
def runs(workspace: Workspace, project: str | None, most: int, as_json: bool) -> None:
    """List training runs, oldest first: state, epoch, metric, version."""
    import json
    import time

    from .run_tables import reasons, runs_table
    from .terminal import console

    found = [run for run in workspace.runs.all() if project in {None, run.project}][-most:]
    found, is_certain = _observed(workspace, found)
    if as_json:
        click.echo(json.dumps([json.loads(run.to_json()) for run in found]))
        return
    if not found:
        whose = "no run" if project is None else f"no run of project {project!r}"
        click.echo(f"{whose} is known in {workspace.store.shown('runs')}: `rayloop train` starts one")
        return
    console.print(runs_table(found, time.time(), console.width))
    for reason in reasons(found):
        click.echo(reason)
    if not is_certain:
        click.echo(f"no Ray cluster answers at {workspace.settings.address}: what is called running may have ended")


@click.command()
@click.argument("run", nargs=-1, required=True)
@click.option("--all", "every", is_flag=True, help="also what is the same in all")
@with_workspace
def compare(workspace: Workspace, run: tuple[str, ...], every: bool) -> None:
    """Show the settings and the metrics in which runs differ."""
    from ..platform.errors import InvalidInput
    from .run_tables import comparison_table, differences
    from .terminal import console

    found = [workspace.runs.find(beginning) for beginning in run]
    if len({one.key for one in found}) < 2:
        raise InvalidInput(f"{' '.join(run)}: name at least two different runs to compare")
    if not differences(found, every=every):
        click.echo("they differ in no setting and no metric")
        return
    console.print(comparison_table(found, every=every))


@click.command()
@click.argument("run")
@click.option("--follow", "-f", is_flag=True, help="wait for more until it ends")
@with_workspace
def logs(workspace: Workspace, run: str, follow: bool) -> None:
    """Print the whole output of a run's latest job, or of any Ray job by its name."""
    from ..cluster import Cluster
    from ..platform.errors import NotFound
    from .report import readable

    cluster = Cluster.connect(settings=workspace.settings)
    job = run
    try:
        known = workspace.runs.find(run)
        job = known.jobs[-1] if known.jobs else run
    except NotFound:
        pass  # a job that is no run: a drift job, a pipeline
    for line in cluster.logs(job, follow=follow):
        click.echo(readable(line))


@click.command()
@click.argument("run")
@with_workspace
def stop(workspace: Workspace, run: str) -> None:
    """End a run, or any Ray job by its whole name; `resume` lets a run go on from its last checkpoint."""
    from ..platform.errors import NotFound, Unavailable
    from . import submission

    try:
        found = workspace.runs.find(run)
    except NotFound as unknown:
        try:
            submission.stop_job(workspace, run)
        except (NotFound, Unavailable):
            raise unknown from None
        click.echo(f"job {run} is stopped: it had no run yet")
        return
    stopped = submission.stop(workspace, found)
    click.echo(f"run {stopped.key} is stopped after epoch {stopped.epoch}; `rayloop resume {stopped.key}` goes on")


@click.command()
@click.argument("run")
@with_workspace
def resume(workspace: Workspace, run: str) -> None:
    """Let a stopped or failed run go on from its last checkpoint, with the code and the data that it had."""
    from . import submission
    from .progress import ProgressLine
    from .terminal import show_version

    with ProgressLine() as line:
        project, result = submission.resume(workspace, workspace.runs.find(run), line.say, line.show)
    show_version(project, result)


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--tolerance", type=click.FloatRange(min=0), help="weights may differ by so much [not at all]")
@click.option("--repository", type=click.Path(exists=True, file_okay=False), help="the git checkout [this folder]")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
@with_workspace
def reproduce(
    workspace: Workspace, model: str, version: int, tolerance: float | None, repository: str | None, as_json: bool
) -> None:
    """Train a version again from its code, data, seeds and settings, and compare every weight."""
    import json
    from pathlib import Path

    from .progress import ProgressLine
    from .reproduction import reproduce_version
    from .reproduction.report import describe

    with ProgressLine() as line:
        say = (lambda _: None) if as_json else line.say
        show = (lambda _: None) if as_json else line.show
        folder = Path(repository) if repository else Path.cwd()
        report = reproduce_version(workspace, model, version, folder, tolerance, say, show)
    if as_json:
        click.echo(json.dumps(report.to_dict(), allow_nan=False))
    else:
        for text in describe(report):
            click.echo(text)
    sys.exit(0 if report.is_success else 1)


def _observed(workspace: Workspace, found: list[Run]) -> tuple[list[Run], bool]:
    """The runs as their jobs stand; False where some are called running and no cluster can be asked."""
    from ..cluster import Cluster
    from ..platform.errors import Unavailable
    from .submission import observed

    if all(run.has_ended or not run.jobs for run in found):
        return found, True
    try:
        cluster = Cluster.connect(settings=workspace.settings)
        return [observed(run, cluster) for run in found], True
    except Unavailable:
        return found, False
