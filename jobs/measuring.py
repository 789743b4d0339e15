"""Measures an endpoint's performance window by window, stores the report, and fires the trigger where it drifted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..platform.errors import Conflict, InvalidInput
from ..platform.model.artifact import load_schema
from ..platform.model.schema import Schema
from ..platform.performance.first_windows import MOST_FIRST, choose_first, first_capture_s
from ..platform.performance.join import Source, join_labels
from ..platform.performance.realised import CLASSIFICATION, REGRESSION
from ..platform.performance.report import PerformanceReport, report_windows
from ..platform.performance.verdict import Reference, Rules, held_out_reference
from ..platform.performance.windows import lay_windows
from ..platform.project import Project
from ..platform.traffic.captured import captured_versions
from ..platform.workspace import Workspace
from .serving import project_of

ALL = "all"
DEFAULT_WINDOWS = 24


def measure_performance(
    workspace: Workspace,
    name: str,
    version: str | None = None,
    since_s: float | None = None,
    until_s: float | None = None,
    window_minutes: float | None = None,
    now_s: float | None = None,
) -> dict[str, Any]:
    """Judge the windows of one version, or of `all`, by the labels that have come until now.

    Raises NotFound for an unknown endpoint or version, InvalidInput for windows that make no sense.
    """
    now_s = time.time() if now_s is None else now_s
    project = project_of(workspace, name)
    monitor = project.monitor
    width_s = (window_minutes or monitor.window_minutes) * 60
    grid, shown = lay_windows(since_s, now_s if until_s is None else until_s, width_s, DEFAULT_WINDOWS)
    number = _version_to_judge(workspace, name, version)
    files, root = workspace.store.filesystem, workspace.store.path("")
    versions = captured_versions(files, root, name) if number is None else [number]
    schemas = _schemas(workspace, project, versions)
    begun = [at_s for found in versions if (at_s := first_capture_s(files, root, name, found)) is not None]
    beginning = grid.number_of(min(begun)) if begun else 0
    early = range(beginning, min(beginning + MOST_FIRST, grid.number_of(now_s) + 1)) if begun else range(0)
    source = Source(files, root, name, schemas)
    joined = join_labels(source, workspace.labels, grid, {*shown, *early}, now_s)
    rules = Rules(_metric(project), monitor.margin, monitor.label_share, monitor.min_rows)
    num_classes = max((len(schema.target.classes) for schema in schemas.values()), default=0)
    first = choose_first(early, joined, monitor.min_rows)
    recorded = None if number is None else _recorded(workspace, project, number)
    report = report_windows(joined, grid, shown, first, num_classes, rules, recorded, now_s)
    stored = {"endpoint": name, "version": number, "measured_s": now_s, **report.to_dict()}
    report_id = workspace.verdicts.add_performance(name, number, report.verdict, stored)
    return {"report_id": report_id, **stored, "pipeline_run": _fire(workspace, project, report)}


def _version_to_judge(workspace: Workspace, name: str, version: str | None) -> int | None:
    """The version asked for, or the one with most traffic; None for all of them."""
    if version == ALL:
        return None
    if version is None:
        return max(workspace.endpoints.split(name).variants, key=lambda variant: variant.weight).version
    if not version.isdecimal():
        raise InvalidInput(f"--version {version!r} must be a number, or {ALL!r}")
    return int(version)


def _schemas(workspace: Workspace, project: Project, versions: list[int]) -> dict[int, Schema]:
    """What each version predicts. Raises Conflict where they have not all the same classes."""
    deployed = {found.version: found.artifact for found in workspace.endpoints.deployments(project.endpoint)}
    found: dict[int, Schema] = {}
    for version in versions:
        artifact = deployed.get(version) or workspace.registry.version(project.name, version).artifact
        found[version] = load_schema(artifact)
    classes = {schema.target.classes for schema in found.values()}
    if len(classes) > 1:
        raise Conflict(f"versions {versions} of {project.endpoint!r} have different classes: name one by --version")
    return found


def _metric(project: Project) -> str:
    """The project's metric, where it can be measured in a window."""
    known = CLASSIFICATION if project.task.kind == "classification" else REGRESSION
    return project.metric if project.metric in known else "rmse"


def _recorded(workspace: Workspace, project: Project, version: int) -> Reference | None:
    """What the gates measured on held-out rows, where that was kept."""
    verdict = workspace.verdicts.latest(project.name, version)
    metrics: Mapping[str, float] = {} if verdict is None else verdict.evidence.get("metrics", {})
    return held_out_reference(metrics, int(verdict.evidence["rows"])) if verdict is not None and metrics else None


def _fire(workspace: Workspace, project: Project, report: PerformanceReport) -> str | None:
    """Start a pipeline run where the verdict asks for one; returns its id."""
    if report.verdict != "drift" or not project.retrain.on_performance:
        return None
    try:
        cooldown_s = project.retrain.cooldown_minutes * 60
        return workspace.pipelines.create(project.name, "performance", report.reason, cooldown_s).id
    except Conflict:
        return None  # another run is open, or has just ended
