"""The drift job: profiles a window of captured predictions and holds it against the version's reference."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import ray

from ..platform.data import Store
from ..platform.errors import Conflict, InvalidInput, NotFound
from ..platform.model.artifact import load_profile, load_schema
from ..platform.model.monitored import PREDICTION, captured_rows
from ..platform.model.schema import Schema
from ..platform.project import Project
from ..platform.quality import window_anomalies
from ..platform.settings import Settings
from ..platform.state import Deployment
from ..platform.stats import DriftLimits, DriftReport, ParquetFiles, Profile, compare
from ..platform.traffic.captured import Window, capture_files
from ..platform.workspace import Workspace
from .counting import count_on_cluster
from .drift_report import Judged, keep_report, log_with_run, with_anomalies
from .report import run_job, say


def measure_drift(
    workspace: Workspace, endpoint: str, version: int | None = None, window: Window | None = None
) -> Mapping[str, Any]:
    """Judge an endpoint's window, store the report, and fire the trigger where it drifted.

    Raises NotFound for an unknown endpoint or a version that is not deployed.
    """
    began_s = time.monotonic()
    project, _ = workspace.projects.load(workspace.projects.named_by_endpoint(endpoint))
    window = window or Window(time.time() - project.monitor.window_minutes * 60, time.time() + 1)
    deployed = _version_to_judge(workspace, endpoint, version)
    reference = load_profile(deployed.artifact)
    paths = capture_files(workspace.store.filesystem, workspace.store.path(""), endpoint, deployed.version, window)
    say(f"profiling {len(paths)} capture files of {endpoint} v{deployed.version}")
    current = profile_captures(workspace.store, paths, load_schema(deployed.artifact), reference, window)
    monitor = project.monitor
    limits = DriftLimits(**monitor.limits.model_dump(), alpha=monitor.alpha, min_rows=monitor.min_rows)
    report = compare(reference, current, limits, dataset_share=monitor.share, always=[PREDICTION])
    report = with_anomalies(report, window_anomalies(reference, current, min_rows=monitor.min_rows))
    stored = report.to_dict() | {"window": [window.since_s, window.until_s], "version": deployed.version}
    number = workspace.verdicts.add_drift(endpoint, deployed.version, report.verdict, stored)
    about = {"endpoint": endpoint, "version": str(deployed.version)}
    judged = Judged(report, reference, current)
    kept = keep_report(workspace.store, judged, f"{endpoint} v{deployed.version}", window, about)
    if deployed.origin is None and (why := log_with_run(workspace, project.name, deployed.version, kept, number)):
        say(why)
    say(f"{endpoint} v{deployed.version}: {report.verdict}, {report.reason}")
    return {
        "report_id": number,
        "endpoint": endpoint,
        "report": stored,
        "distributions": kept.distributions,
        "folder": kept.folder,
        "pipeline_run": _fire(workspace, project, report),
        "wall_s": round(time.monotonic() - began_s, 2),
    }


def profile_captures(store: Store, paths: Sequence[str], schema: Schema, reference: Profile, window: Window) -> Profile:
    """Profile a window's captured rows on the reference's bins: those that a client got an answer of."""
    if not paths:
        return Profile.empty(reference.binnings)
    selection = captured_rows(schema, reference.binnings, window)
    return count_on_cluster(ParquetFiles(store.filesystem, paths), selection, reference.binnings, store)


def _version_to_judge(workspace: Workspace, endpoint: str, version: int | None) -> Deployment:
    """The version asked for, or the one with most traffic."""
    deployed = {found.version: found for found in workspace.endpoints.deployments(endpoint)}
    if version is None:
        variants = workspace.endpoints.split(endpoint).variants
        version = max(variants, key=lambda variant: variant.weight).version
    if version not in deployed:
        raise NotFound(f"{endpoint} version {version} is not deployed; deployed: {sorted(deployed)}")
    return deployed[version]


def _fire(workspace: Workspace, project: Project, report: DriftReport) -> str | None:
    """Start a pipeline run where the verdict asks for one; returns its id."""
    if report.verdict != "drift" or not project.retrain.on_drift:
        return None
    cooldown_s = project.retrain.cooldown_minutes * 60
    try:
        run = workspace.pipelines.create(project.name, "drift", report.reason, cooldown_s)
    except Conflict as reason:
        say(f"no retraining: {reason}")
        return None
    say(f"trigger fired: pipeline run {run.id}")
    return run.id


@click.command()
@click.argument("endpoint")
@click.option("--version", type=int, help="default the version with most traffic")
@click.option("--since", type=float, help="begin of the window, seconds since 1970; default monitor.window_minutes ago")
@click.option("--until", type=float, help="end of the window, seconds since 1970; default now")
def main(endpoint: str, version: int | None, since: float | None, until: float | None) -> None:
    """Measure the drift of an endpoint's captured predictions."""

    def work() -> Mapping[str, Any]:
        workspace = Workspace(Settings.load())
        window = None
        if since is not None:
            window = Window(since, time.time() + 1 if until is None else until)
            if window.until_s <= window.since_s:
                raise InvalidInput(f"--until {until} must lie after --since {since}")
        ray.init(log_to_driver=False, configure_logging=False)
        return measure_drift(workspace, endpoint, version, window)

    run_job(work)


if __name__ == "__main__":
    main()
