"""The verbs `rayloop labels ...`: add what predictions turned out to be, and read what was said of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace


@click.group()
def labels() -> None:
    """Labels of predictions, which come later."""


@labels.command("add")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@with_workspace
def add(workspace: Workspace, name: str, file: Path) -> None:
    """Add the labels of a CSV, Parquet or JSON lines file: request_id, label, and as you like row, time."""
    from ..platform.labels.files import read_label_file
    from .labelling import add_labels

    added = add_labels(workspace, name, read_label_file(file))
    known = added.records - added.stored
    click.echo(f"{name}: {added.stored} labels added" + (f", {known} were there already" if known else ""))


@labels.command("history")
@click.argument("name")
@click.argument("request_id")
@click.option("--row", default=0, show_default=True)
@with_workspace
def history(workspace: Workspace, name: str, request_id: str, row: int) -> None:
    """Print every label of one predicted row, oldest first; the last one counts."""
    from .performance_table import show_label_history

    show_label_history(workspace.labels.history(name, request_id, row))
