"""The verb `rayloop performance`: how good a version is, on the labels that came and by estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace


@click.command()
@click.argument("name")
@click.option("--version", help="a number, or `all` for all versions together [the one with most traffic]")
@click.option("--since", type=float, help="begin of the first window, seconds since 1970 [24 windows ago]")
@click.option("--until", type=float, help="end of the last window, seconds since 1970 [now]")
@click.option("--window-minutes", type=click.FloatRange(min=0, min_open=True), help="[monitor.window_minutes]")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
@with_workspace
def performance(
    workspace: Workspace,
    name: str,
    version: str | None,
    since: float | None,
    until: float | None,
    window_minutes: float | None,
    as_json: bool,
) -> None:
    """Measure captured predictions on the labels that came; where the project says so, drift starts a pipeline run."""
    import json

    from .measuring import measure_performance
    from .performance_table import show_performance

    found = measure_performance(workspace, name, version, since, until, window_minutes)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
    else:
        show_performance(found)
