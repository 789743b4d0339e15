"""The verbs `rayloop token ...`: make, list and revoke the tokens that the edge lets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace


@click.group()
def token() -> None:
    """Tokens of clients; once there was one, the edge answers nobody without."""


@token.command("create")
@click.argument("name")
@click.option("--role", default="inference", show_default=True, help="inference, deploy or admin")
@with_workspace
def create(workspace: Workspace, name: str, role: str) -> None:
    """Make a token and print it, this one time; it is kept as a hash alone."""
    is_first = workspace.tokens.access().is_open
    click.echo(workspace.tokens.create(name, role))
    if is_first:
        click.echo("from now on the edge answers only requests with a valid token", err=True)


@token.command("list")
@with_workspace
def list_tokens(workspace: Workspace) -> None:
    """List all tokens, revoked ones too, oldest first."""
    from .terminal import show_tokens

    show_tokens(workspace.tokens.tokens())


@token.command("revoke")
@click.argument("name")
@with_workspace
def revoke(workspace: Workspace, name: str) -> None:
    """Let a token in no more; the edge forgets it within a second."""
    found = workspace.tokens.revoke(name)
    click.echo(f"token {found.name!r} ({found.role}) is revoked")
