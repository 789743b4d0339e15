"""The `rayloop` command: one thin verb each, no logic. Rooms are imported inside the verbs, to start fast."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .jobs.check import check
from .jobs.deploy import deploy
from .jobs.drift_verb import drift
from .jobs.labels import labels
from .jobs.performance import performance
from .jobs.quality import quality
from .jobs.runs import compare, logs, reproduce, resume, runs, stop
from .jobs.scaling import scale_version
from .jobs.search.verb import tune
from .jobs.tokens import token
from .jobs.traffic import rollback, shadow, shadow_report, split
from .jobs.verbs import with_workspace
from .platform.errors import InvalidInput, NotFound, RayloopError

if TYPE_CHECKING:
    from .platform.workspace import Workspace


class Commands(click.Group):
    """Turns every error of ours into one sentence and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except RayloopError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt as left:
            if str(left):  # what goes on without whoever asked for it
                click.echo(left, err=True)
            sys.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rayloop")
@click.option("--home", envvar="RAYLOOP_HOME", type=click.Path(path_type=Path), help="state of this machine [.rayloop]")
@click.option("--address", envvar="RAYLOOP_ADDRESS", help="Ray dashboard of a running cluster [http://127.0.0.1:8265]")
@click.pass_context
def main(ctx: click.Context, home: Path | None, address: str | None) -> None:
    """Closes the machine-learning loop on one Ray cluster."""
    ctx.obj = {"home": home, "address": address}


VERBS = (
    check,
    compare,
    deploy,
    drift,
    labels,
    logs,
    performance,
    quality,
    reproduce,
    resume,
    rollback,
    runs,
    scale_version,
    shadow,
    shadow_report,
    split,
    stop,
    token,
    tune,
)
for verb in VERBS:
    main.add_command(verb)


def say(text: str) -> None:
    """One line for a person."""
    click.echo(text)


@main.command()
@click.argument("name", required=False)
@click.option("--source", default="data.parquet", show_default=True)
@click.option("--target", default="label", show_default=True)
@click.option("--kind", type=click.Choice(["classification", "regression"]), default="classification")
def init(name: str | None, source: str, target: str, kind: str) -> None:
    """Write a commented rayloop.yaml, and its JSON Schema for editors, into this folder."""
    from .platform.project import FILE_NAME, json_schema, parse_project, template

    if Path(FILE_NAME).exists():
        raise InvalidInput(f"{FILE_NAME} exists here already: edit it, or remove it first")
    text = template(name or Path.cwd().name, source, target, kind)
    parse_project(text)
    Path(FILE_NAME).write_text(text)
    Path("rayloop.schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n")
    say(f"wrote {FILE_NAME} and rayloop.schema.json; next: `rayloop check`")


@main.command()
@click.option("--cpus", type=click.IntRange(min=1), help="logical CPUs [at least 8: Ray counts, it does not bind]")
@click.option("--gpus", type=click.IntRange(min=0), help="GPUs [those that Ray finds]")
@click.option("--edge-host", help="interface of the edge [127.0.0.1]")
@click.option("--edge-port", type=int, help="where predictions are asked for [8080]")
@click.option("--edge-grpc-port", type=int, help="where the edge speaks gRPC [nowhere]")
@click.option("--edge-certificate", type=click.Path(resolve_path=True), help="PEM file by which the edge speaks TLS")
@click.option("--mlflow-port", type=int, help="MLflow's pages [5000]")
@click.option("--dashboard-port", type=int, help="Ray's dashboard [8265]")
@click.option("--serve-port", type=int, help="Ray Serve's own proxy, behind the edge [8000]")
@click.option("--insecure", is_flag=True, help="let an edge that others can reach answer without tokens")
@click.option("--attach", is_flag=True, help="start no Ray: bring edge and steward up on the cluster at --address")
@click.pass_context
def up(ctx: click.Context, /, cpus: int | None, gpus: int | None, attach: bool, insecure: bool, **ports: Any) -> None:
    """Start Ray, MLflow, Serve, the edge and the steward on this machine."""
    from .jobs import services
    from .jobs.terminal import show_addresses
    from .platform.settings import Settings

    if attach:
        services.attach(Settings.load(**ctx.obj, **ports), insecure=insecure)
    else:
        services.end_dead(Settings.load(**ctx.obj))
        services.up(Settings.load(**ctx.obj, **ports), cpus=cpus, gpus=gpus, insecure=insecure, say=say)
    show_addresses(Settings.load(**ctx.obj))


@main.command()
@with_workspace
def down(workspace: Workspace) -> None:
    """End everything that `up` started; data, models and the ledger stay."""
    from .jobs import services

    services.down(workspace.settings)
    say("everything is down")


@main.command()
@with_workspace
def status(workspace: Workspace) -> None:
    """Show the cluster, the endpoints and the open pipeline runs."""
    from .cluster import Cluster
    from .jobs.terminal import show_status

    show_status(workspace, Cluster.connect(settings=workspace.settings).status())


@main.command()
@click.option("--cpus", type=int, help="logical CPUs in all")
@click.option("--gpus", type=int, help="GPUs in all")
@with_workspace
def scale(workspace: Workspace, cpus: int | None, gpus: int | None) -> None:
    """Bring the cluster to a size."""
    from .cluster import Cluster

    now = Cluster.connect(settings=workspace.settings).scale(cpus=cpus, gpus=gpus)
    say(f"{now.cpus:g} CPUs and {now.gpus:g} GPUs on {len(now.nodes)} node(s)")


@main.group()
def data() -> None:
    """Snapshots of the project's data."""


@data.command("add")
@with_workspace
def data_add(workspace: Workspace) -> None:
    """Make a snapshot of the project's source as it is now."""
    from .jobs.data import add_data, current_project

    project, _ = current_project(workspace)
    added = add_data(workspace, project, say)
    rows, files = added.snapshot.manifest.rows, len(added.snapshot.manifest.files)
    say(f"{'new' if added.is_new else 'known'} snapshot {added.snapshot.digest[:12]}: {rows} rows in {files} file(s)")


@data.command("list")
@with_workspace
def data_list(workspace: Workspace) -> None:
    """List the project's snapshots, oldest first."""
    from .jobs.terminal import show_snapshots
    from .platform.project import find_project, load_project

    show_snapshots(workspace.projects.snapshots(load_project(find_project()).name))


@main.command()
@click.option("--snapshot", help="digest of a snapshot [the source as it is now]")
@with_workspace
def train(workspace: Workspace, snapshot: str | None) -> None:
    """Train, validate against the champion, register."""
    from .jobs.submission import start_here
    from .jobs.terminal import show_version

    show_version(*start_here(workspace, "train", snapshot))


@main.command()
@click.argument("name")
@click.option("--version", type=int, help="[the newest]")
@click.option("--snapshot", help="digest of a snapshot [the newest]")
@with_workspace
def validate(workspace: Workspace, name: str, version: int | None, snapshot: str | None) -> None:
    """Hold a registered version against its gates again, beside today's champion."""
    from .jobs.serving import validate_again
    from .jobs.terminal import show_verdict

    verdict = validate_again(workspace, name, version, snapshot)
    show_verdict(verdict)
    sys.exit(0 if verdict.passed else 1)


@main.command()
@click.argument("name")
@click.argument("version", type=int)
@with_workspace
def undeploy(workspace: Workspace, name: str, version: int) -> None:
    """Take a version without traffic down."""
    from .jobs import serving

    serving.undeploy(workspace, name, version)
    say(f"{name} v{version} is being taken down: its replicas end their requests, for 30 s at least, and stop")


@main.command()
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True)
@click.option("--wait/--no-wait", default=True, show_default=True, help="follow the run to its end")
@with_workspace
def retrain(workspace: Workspace, name: str, reason: str, wait: bool) -> None:
    """Start a pipeline run: snapshot, train, validate, register, canary, promote or roll back."""
    from .jobs.serving import project_of
    from .jobs.terminal import follow_pipeline

    run = workspace.pipelines.create(project_of(workspace, name).name, "manual", reason)
    say(f"pipeline run {run.id}")
    if wait:
        sys.exit(follow_pipeline(workspace, run.id, say))


@main.group()
def pipeline() -> None:
    """Pipeline runs."""


@pipeline.command("list")
@with_workspace
def pipeline_list(workspace: Workspace) -> None:
    """List pipeline runs, oldest first."""
    from .jobs.terminal import show_pipelines

    show_pipelines(workspace.pipelines.runs())


@pipeline.command("show")
@click.argument("run_id")
@click.option("--follow", is_flag=True, help="wait until it ends")
@with_workspace
def pipeline_show(workspace: Workspace, run_id: str, follow: bool) -> None:
    """Show a run and its steps."""
    from .jobs.terminal import follow_pipeline, show_pipeline

    if follow:
        sys.exit(follow_pipeline(workspace, run_id, say))
    show_pipeline(workspace.pipelines.get(run_id), workspace.pipelines.steps(run_id))


@main.command()
@click.argument("name")
@with_workspace
def versions(workspace: Workspace, name: str) -> None:
    """List a model's versions, their verdicts and their traffic."""
    from .jobs.terminal import show_models, show_versions

    if workspace.endpoints.is_foreign(name):
        show_models(workspace, name)
        return
    if not workspace.registry.versions(name):
        raise NotFound(f"no model {name!r} is registered")
    show_versions(workspace, name)


@main.group()
def ledger() -> None:
    """The audit log."""


@ledger.command("show")
@with_workspace
def ledger_show(workspace: Workspace) -> None:
    """Print every entry, oldest first."""
    from .jobs.terminal import show_ledger

    show_ledger(workspace.ledger.entries())


@ledger.command("verify")
@with_workspace
def ledger_verify(workspace: Workspace) -> None:
    """Check the chain of hashes."""
    entries, fault = workspace.ledger.entries(), workspace.ledger.first_fault()
    if fault is not None:
        raise InvalidInput(f"the ledger was changed: entry {fault} of {len(entries)} does not fit the one before it")
    say(f"{len(entries)} entries, unchanged; the last digest is {entries[-1].digest if entries else 'none'}")


@main.command()
@click.option("--exit", "exit_after", is_flag=True, help="end everything afterwards instead of waiting for Ctrl-C")
@click.option("--folder", type=click.Path(path_type=Path), help="where the demo's project lies [a new folder]")
@click.pass_context
def demo(ctx: click.Context, exit_after: bool, folder: Path | None) -> None:
    """Run the whole loop on real images of digits: train, serve, drift, retrain, canary, promote."""
    from .jobs.demo import run_demo

    run_demo(ctx.obj["home"], folder, exit_after)


if __name__ == "__main__":
    main()
