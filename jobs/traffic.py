"""The verbs that move traffic, or copies of it: `split`, `rollback`, `shadow` and `shadow-report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace


@click.command()
@click.argument("name")
@click.argument("shares", nargs=-1)
@click.option("--reason", default="by hand", show_default=True, help="kept in the ledger")
@with_workspace
def split(workspace: Workspace, name: str, shares: tuple[str, ...], reason: str) -> None:
    """Part an endpoint's traffic over versions, in percent: `rayloop split digits 3=90 4=10`."""
    from . import serving
    from .terminal import describe_split

    click.echo(describe_split(serving.set_split(workspace, name, shares, reason)))


@click.command()
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="kept in the ledger")
@with_workspace
def rollback(workspace: Workspace, name: str, reason: str) -> None:
    """Give all traffic back to the version that had it before."""
    from . import serving
    from .terminal import describe_split

    click.echo(describe_split(serving.roll_back(workspace, name, reason)))


@click.command()
@click.argument("name")
@click.argument("shares", nargs=-1)
@click.option("--none", is_flag=True, help="end all shadowing of the endpoint")
@click.option("--reason", default="by hand", show_default=True, help="kept in the ledger")
@with_workspace
def shadow(workspace: Workspace, name: str, shares: tuple[str, ...], none: bool, reason: str) -> None:
    """Copy an endpoint's requests to versions without traffic: `rayloop shadow digits 4`, or `4=20` for 20 %.

    The versions named are all the shadows that there are from now on.
    """
    from . import serving
    from .terminal import describe_split

    click.echo(describe_split(serving.set_shadows(workspace, name, shares, reason, end=none)))


@click.command("shadow-report")
@click.argument("name")
@click.option("--version", type=int, help="[the endpoint's only shadow]")
@click.option("--since", type=float, help="begin of the window, seconds since 1970 [monitor.window_minutes ago]")
@click.option("--until", type=float, help="end of the window, seconds since 1970 [now]")
@click.option("--tolerance", default=0.01, show_default=True, help="numbers agree within this share of the larger")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON")
@with_workspace
def shadow_report(
    workspace: Workspace,
    name: str,
    version: int | None,
    since: float | None,
    until: float | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Hold a shadow's captured answers against those that clients got to the same requests."""
    import json

    from .shadow import report_shadow
    from .terminal import show_shadow_report

    found = report_shadow(workspace, name, version, since, until, tolerance)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
    else:
        show_shadow_report(found)
