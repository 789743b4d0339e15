"""The drift job: profiles a window of captured predictions and holds it against the version's reference."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from ..platform.data import Store
from ..platform.errors import Conflict, InvalidInput, NotFound
from ..platform.model.artifact import load_profile, load_schema
from ..platform.model.monitored import PREDICTION, monitored_capture
from ..platform.model.schema import Schema
from ..platform.project import Project
from ..platform.settings import Settings
from ..platform.state import Deployment
from ..platform.stats import DriftLimits, DriftReport, Profile, compare, profile_table, read_profile, write_profile
from ..platform.traffic import capture_schema as names
from ..platform.traffic.captured import Window, capture_files, is_live
from ..platform.workspace import Workspace
from .report import run_job, say

UNIT_BYTES = 64 * 1024 * 1024  # about what one task reads
FAN_IN = 8  # profiles that one task merges


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
    current = profile_files(workspace.settings.store, paths, load_schema(deployed.artifact), reference, window)
    monitor = project.monitor
    limits = DriftLimits(**monitor.limits.model_dump(), alpha=monitor.alpha, min_rows=monitor.min_rows)
    report = compare(reference, current, limits, dataset_share=monitor.share, always=[PREDICTION])
    stored = report.to_dict() | {"window": [window.since_s, window.until_s], "version": deployed.version}
    number = workspace.verdicts.add_drift(endpoint, deployed.version, report.verdict, stored)
    say(f"{endpoint} v{deployed.version}: {report.verdict}, {report.reason}")
    return {
        "report_id": number,
        "endpoint": endpoint,
        "report": stored,
        "pipeline_run": _fire(workspace, project, report),
        "wall_s": round(time.monotonic() - began_s, 2),
    }


def profile_files(store: str, paths: Sequence[str], schema: Schema, reference: Profile, window: Window) -> Profile:
    """Profile captured files on the reference's bins: tasks over row groups, merged as a tree."""
    if not paths:
        return Profile.empty(reference.binnings)
    num_gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
    profile_unit = ray.remote(num_cpus=1, num_gpus=num_gpus, max_retries=3)(_profile_unit)
    merge = ray.remote(num_cpus=0.5)(_merge)
    shared = ray.put((store, schema.to_dict(), write_profile(reference), window))
    refs = [profile_unit.remote(shared, unit) for unit in _units(Store(store), paths)]
    while len(refs) > 1:
        refs = [merge.remote(*refs[first : first + FAN_IN]) for first in range(0, len(refs), FAN_IN)]
    return read_profile(ray.get(refs[0]))


def _units(store: Store, paths: Sequence[str]) -> list[list[tuple[str, list[int]]]]:
    """Row groups in portions of about UNIT_BYTES: a large file is parted, small files go together."""
    units: list[list[tuple[str, list[int]]]] = [[]]
    size = 0
    for path in paths:
        footer = pq.read_metadata(path, filesystem=store.filesystem)
        for group in range(footer.num_row_groups):
            if size > UNIT_BYTES:
                units.append([])
                size = 0
            if units[-1] and units[-1][-1][0] == path:
                units[-1][-1][1].append(group)
            else:
                units[-1].append((path, [group]))
            size += footer.row_group(group).total_byte_size
    return units


def _profile_unit(shared: tuple[str, dict[str, Any], bytes, Window], unit: list[tuple[str, list[int]]]) -> bytes:
    root, schema_values, reference_json, window = shared
    store, schema = Store(root), Schema.from_dict(schema_values)
    reference = read_profile(reference_json)
    columns = [*reference.binnings, names.TIME, names.VARIANT]
    profile = Profile.empty(reference.binnings)
    for path, groups in unit:
        with pq.ParquetFile(path, filesystem=store.filesystem) as file:
            for group in groups:
                table: pa.Table = file.read_row_group(group, columns=columns, use_threads=False)
                kept = pc.and_(window.holds(table.column(names.TIME)), is_live(table.column(names.VARIANT)))
                rows = monitored_capture(schema, table.filter(kept))
                profile = profile.merge(profile_table(rows, reference.binnings))
    return write_profile(profile)


def _merge(*profiles: bytes) -> bytes:
    return write_profile(Profile.merge_all([read_profile(profile) for profile in profiles]))


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
