"""The verb `rayloop tune`: submits the tune job and shows what it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..verbs import with_workspace

if TYPE_CHECKING:
    from ...platform.workspace import Workspace


@click.command()
@click.option("--snapshot", help="digest of a snapshot [the source as it is now]")
@click.option("--key", help="name of the search; the same name goes on where a search of it was cut off")
@with_workspace
def tune(workspace: Workspace, snapshot: str | None, key: str | None) -> None:
    """Search settings, register the best trial."""
    from ...cluster import Cluster
    from ..data import add_data, current_project
    from ..remote import run_remote
    from ..terminal import show_version

    Cluster.connect(settings=workspace.settings)  # before anything is stored
    project, code = current_project(workspace)
    if snapshot is None:
        snapshot = add_data(workspace, project, click.echo).snapshot.digest
    options = ["--snapshot", snapshot, *(["--key", key] if key else [])]
    show_version(project, run_remote(workspace, "tune", options, click.echo, code))
