"""The verb `rayloop deploy`: a version of a project, or any MLflow model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..platform.errors import InvalidInput
from .verbs import with_workspace

if TYPE_CHECKING:
    from ..platform.workspace import Workspace


@click.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="[the newest; with --model its own, or the next]")
@click.option("--force", metavar="REASON", help="serve a version that has not passed its gates; kept in the ledger")
@click.option("--model", metavar="URI", help="serve any MLflow model, such as models:/churn/3; its code runs then")
@click.option("--replicas", type=int, help="with --model: processes that answer [1]")
@click.option("--cpus", type=float, help="with --model: CPUs of each replica [0.5]")
@click.option("--gpus", type=float, help="with --model: GPUs of each replica [0]")
@with_workspace
def deploy(
    workspace: Workspace,
    name: str,
    version: int | None,
    force: str | None,
    model: str | None,
    replicas: int | None,
    cpus: float | None,
    gpus: float | None,
) -> None:
    """Bring a version up behind the edge."""
    given = {"replicas": replicas, "cpus": cpus, "gpus": gpus}
    room: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if model is None:
        from . import serving

        if room:
            raise InvalidInput(f"--{next(iter(room))} goes with --model; a project says it under `serve`")
        serving.deploy(workspace, name, version, click.echo, force)
    else:
        from .foreign import Room, deploy_model

        if force is not None:
            raise InvalidInput("--force is for a project's versions: a model given by --model has no gates")
        deploy_model(workspace, name, model, version, click.echo, Room(**room))
    click.echo(f"ask it: {workspace.settings.edge_url}/v2/models/{name}/infer")
