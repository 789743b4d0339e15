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
    from ..submission import start_here
    from ..terminal import show_version

    show_version(*start_here(workspace, "tune", snapshot, key))
