"""The verb `rayloop scale-version`: how many replicas a version has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace


@click.command("scale-version")
@click.argument("name")
@click.argument("version", type=int)
@click.option("--replicas", type=int, required=True)
@with_workspace
def scale_version(workspace: Workspace, name: str, version: int, replicas: int) -> None:
    """Give a version another number of replicas; those that stay are not restarted."""
    from . import serving

    serving.scale_version(workspace, name, version, replicas)
    word = "replica" if replicas == 1 else "replicas"
    click.echo(f"{name} v{version} gets {replicas} {word}; `rayloop status` shows how many run")
