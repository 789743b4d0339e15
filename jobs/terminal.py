"""What a person sees in a terminal: tables and one-line descriptions; it reads values and decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ..cluster import ClusterStatus
from ..platform.errors import NotFound, Unavailable
from ..platform.project import Project
from ..platform.settings import Settings
from ..platform.state import Deployment, Entry, PipelineRun, SnapshotRecord, Step, Token
from ..platform.traffic import Split, app_name
from ..platform.workspace import Workspace
from ..serve.versions import Replicas, application_states, replicas_of

if TYPE_CHECKING:
    from ..platform.validate import Verdict

console = Console(highlight=False, markup=False)  # names and reasons are not ours to style

MOST_ROWS = 15
FOLLOW_PERIOD_S = 0.3


def make_table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's look; a column whose name begins with `>` is right-aligned."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table


def clock(at_s: float | None) -> str:
    """A moment in UTC, to the second."""
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def describe_split(split: Split) -> str:
    """One line such as `digits: v4 10 %, v3 90 %, shadow v5 20 % (revision 7)`."""
    parts = [f"v{variant.version} {variant.weight / 100:g} %" for variant in split.variants if variant.weight]
    parts += [f"shadow v{shadow.version} {shadow.share / 100:g} %" for shadow in split.shadows]
    return f"{split.endpoint}: {', '.join(parts)} (revision {split.revision})"


def count_replicas(settings: Settings) -> Mapping[str, Replicas]:
    """The replicas of each Serve application by its name; none where no cluster answers."""
    try:
        return {name: replicas_of(state) for name, state in application_states(settings).items()}
    except Unavailable:
        return {}


def describe_deployment(found: Deployment, replicas: Mapping[str, Replicas]) -> str:
    """A version with its replicas, such as `v3 (2/2 replicas)` or `v4 (0/0 replicas, 0 to 8 by load)`."""
    counted = replicas.get(app_name(found.endpoint, found.version))
    bounds = found.options.get("autoscale")
    by_load = "" if bounds is None else f", {bounds['min']} to {bounds['max']} by load"
    return f"v{found.version} ({'unknown to Serve' if counted is None else f'{counted} replicas'}{by_load})"


def show_addresses(settings: Settings) -> None:
    """Where everything is."""
    table = make_table("", "")
    table.show_header = False
    table.add_row("predictions", f"{settings.edge_url}/v2/models/<name>/infer")
    table.add_row("MLflow", settings.tracking_uri)
    table.add_row("Ray dashboard", settings.address)
    table.add_row("state", str(settings.home))
    console.print(table)


def show_status(workspace: Workspace, status: ClusterStatus) -> None:
    """The cluster's size, what is served, and what is under way."""
    console.print(f"Ray at {status.address}: {status.cpus:g} CPUs, {status.gpus:g} GPUs, {len(status.nodes)} node(s)")
    deployed: dict[str, list[str]] = {}
    replicas = count_replicas(workspace.settings)
    for found in workspace.endpoints.deployments():
        deployed.setdefault(found.endpoint, []).append(describe_deployment(found, replicas))
    splits = {split.endpoint: split for split in workspace.endpoints.splits()}
    for name in sorted(deployed):
        versions = ", ".join(deployed[name])
        console.print(f"{describe_split(splits[name]) if name in splits else name}; deployed: {versions}")
    for run in workspace.pipelines.runs():
        if not run.has_ended:
            console.print(f"pipeline run {run.id}: {run.state} ({run.trigger}: {run.reason})")


def show_snapshots(records: Sequence[SnapshotRecord]) -> None:
    """Snapshots, oldest first."""
    table = make_table("snapshot", ">rows", "made (UTC)")
    for record in records:
        table.add_row(record.digest[:12], str(record.rows), clock(record.created_s))
    console.print(table)


def show_version(project: Project, result: Mapping[str, Any]) -> None:
    """The version that a training gave, and its held-out metrics."""
    table = make_table("metric", ">held-out rows")
    for name, value in result["metrics"].items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    state = "passed its gates" if result["passed"] else "BROKE a gate and may not be served"
    console.print(f"{project.name} v{result['version']} {state}; artifact SHA-256 {result['sha256'][:16]}")
    if result["passed"]:
        console.print(f"next: `rayloop deploy {project.endpoint} --version {result['version']}`")


def show_verdict(verdict: Verdict) -> None:
    """A version's metrics beside the champion's, and its gates."""
    champion = "champion" if verdict.champion is None else f"champion v{verdict.champion}"
    table = make_table("metric", ">this version", f">{champion}")
    for name, value in verdict.metrics.items():
        other = verdict.champion_metrics.get(name)
        table.add_row(name, f"{value:.4f}", "" if other is None else f"{other:.4f}")
    console.print(table)
    for gate in verdict.gates:
        console.print(f"{'kept  ' if gate.passed else 'BROKEN'} {gate.reason}")


def show_shadow_report(found: Mapping[str, Any], most: int = MOST_ROWS) -> None:
    """How alike a shadow and the primary answered, number by number, and how fast and how often they failed."""
    primary = ", ".join(f"v{version}" for version in found["primary_versions"]) or "the primary"
    shadow, agreement = f"shadow v{found['version']}", found["agreement"]
    if agreement is None:
        console.print(f"{found['endpoint']}: nothing that {shadow} answered in this window can be compared")
    else:
        console.print(
            f"{found['endpoint']}: {shadow} agrees with {primary} on {agreement['mean']:.2%} of {found['rows']} rows "
            f"({_interval(agreement, '.2%')}), by {found['agreement_on']}"
        )
    console.print(_sides(found, primary, shadow))
    differences = sorted(found["differences"], key=lambda one: -one["absolute"]["mean"])
    table = make_table("output", ">mean difference", "95 %", ">mean |difference|", "95 %", ">rows")
    for one in differences[:most]:
        parts = [(f"{one[key]['mean']:.4g}", _interval(one[key], ".4g")) for key in ("difference", "absolute")]
        table.add_row(one["output"], *parts[0], *parts[1], str(one["rows"]))
    if differences:
        console.print(table)
    if len(differences) > most:
        console.print(f"… and {len(differences) - most} outputs that differ less")
    if found["ambiguous"]:
        console.print(f"{found['ambiguous']} request ids came more than once and are left out")
    if found["not_compared"]:
        console.print(f"not compared: {', '.join(found['not_compared'])}")


def _sides(found: Mapping[str, Any], primary: str, shadow: str) -> Table:
    """Latency and errors of the requests that both got."""
    table, sides = make_table("", f">{primary}", f">{shadow}", ">ratio"), (found["primary"], found["shadow"])
    table.add_row("requests of both", *[str(found["requests"])] * 2, "")
    for name in ("p50", "p99"):
        table.add_row(f"{name} ms", *(_number(side[f"{name}_ms"]) for side in sides), _number(found[f"{name}_ratio"]))
    rows = {"refused": "refused (4xx)", "failed": "failed (5xx)", "rows_alone": "rows without a partner"}
    for key, label in rows.items():
        table.add_row(label, *(str(side[key]) for side in sides), "")
    return table


def show_pipelines(runs: Sequence[PipelineRun]) -> None:
    """Runs, oldest first."""
    table = make_table("run", "trigger", "state", "began (UTC)", "reason")
    for run in runs:
        table.add_row(run.id, run.trigger, run.state, clock(run.created_s), run.reason)
    console.print(table)


def show_pipeline(run: PipelineRun, steps: Sequence[Step]) -> None:
    """A run and its steps."""
    console.print(f"{run.id}: {run.state} ({run.trigger}: {run.reason})")
    table = make_table("step", ">seconds", "result")
    for step in steps:
        seconds = "" if step.ended_s is None else f"{step.ended_s - step.started_s:.1f}"
        unfinished = "the run ended here" if run.has_ended else "under way"
        table.add_row(step.name, seconds, unfinished if step.ended_s is None else _brief(step.output))
    console.print(table)


def follow_pipeline(workspace: Workspace, run_id: str, say: Callable[[str], None]) -> int:
    """Say each step as it ends, until the run has ended; returns the exit code: 0 where it promoted."""
    said: set[str] = set()
    while True:
        run = workspace.pipelines.get(run_id)
        for step in workspace.pipelines.steps(run_id):
            if step.ended_s is not None and step.name not in said:
                said.add(step.name)
                say(f"{step.name}: {_brief(step.output)} ({step.ended_s - step.started_s:.1f} s)")
        if run.has_ended:
            reasons = [e.detail.get("reason") for e in workspace.ledger.entries() if e.subject == run.id]
            say(f"{run.id} ended: {run.state}, {reasons[-1]}")
            return 0 if run.state == "promoted" else 1
        time.sleep(FOLLOW_PERIOD_S)


def show_versions(workspace: Workspace, model: str) -> None:
    """Versions of a model with their verdicts and traffic."""
    from ..platform.registry.registry import CHAMPION  # MLflow takes over a second to import

    endpoint = _endpoint(workspace, model)
    shares = _shares(workspace, endpoint)
    replicas = count_replicas(workspace.settings)
    deployments = workspace.endpoints.deployments(endpoint)
    up = {found.version: replicas.get(app_name(endpoint, found.version)) for found in deployments}
    champion = workspace.registry.alias(model, CHAMPION)
    table = make_table(">version", "validation", ">traffic", ">replicas", "alias", "run", "SHA-256")
    for found in workspace.registry.versions(model):
        verdict = workspace.verdicts.latest(model, found.version)
        state = "never" if verdict is None else ("passed" if verdict.passed else "failed")
        share = shares.get(found.version, "")
        running = "" if found.version not in up else str(up[found.version] or "?")
        alias = CHAMPION if found.version == champion else ""
        sha256 = found.tags.get("rayloop.sha256", "")[:12]
        table.add_row(str(found.version), state, share, running, alias, found.run_id[:12], sha256)
    console.print(table)


def show_models(workspace: Workspace, endpoint: str) -> None:
    """Models given by --model that an endpoint serves, and their traffic."""
    shares = _shares(workspace, endpoint)
    table = make_table(">version", ">traffic", "model", "SHA-256", "from")
    for found in workspace.endpoints.deployments(endpoint):
        origin = found.origin or {}
        table.add_row(
            str(found.version), shares.get(found.version, ""), origin["model"], origin["sha256"][:12], origin["source"]
        )
    console.print(table)


def _shares(workspace: Workspace, endpoint: str) -> dict[int, str]:
    """What each version has of an endpoint's traffic: a share of its own, or of the copies."""
    splits = [split for split in workspace.endpoints.splits() if split.endpoint == endpoint]
    copies = {shadow.version: f"shadow {shadow.share / 100:g} %" for split in splits for shadow in split.shadows}
    return copies | {v.version: f"{v.weight / 100:g} %" for split in splits for v in split.variants}


def show_ledger(entries: Sequence[Entry]) -> None:
    """Every entry of the audit log."""
    table = make_table(">seq", "at (UTC)", "actor", "action", "subject", "detail")
    for entry in entries:
        table.add_row(str(entry.seq), clock(entry.at_s), entry.actor, entry.action, entry.subject, _brief(entry.detail))
    console.print(table)


def show_tokens(tokens: Sequence[Token]) -> None:
    """Tokens, oldest first; of the token itself nothing is known."""
    table = make_table("name", "role", "made (UTC)", "revoked (UTC)")
    for found in tokens:
        table.add_row(found.name, found.role, clock(found.created_s), clock(found.revoked_s))
    console.print(table)


def _endpoint(workspace: Workspace, model: str) -> str:
    """The name under which a model is served; its own where its project is not known here."""
    try:
        return workspace.projects.load(model)[0].endpoint
    except NotFound:
        return model


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(estimate: Mapping[str, Any], form: str) -> str:
    if estimate["low"] is None:
        return "too few requests for an interval"
    return f"{estimate['low']:{form}} to {estimate['high']:{form}}"


def _brief(values: Mapping[str, Any], most: int = 110) -> str:
    shown = ", ".join(f"{key} {value}" for key, value in values.items() if not isinstance(value, dict))
    return shown if len(shown) <= most else shown[: most - 1] + "…"
