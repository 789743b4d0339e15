"""Adds data: reads a project's source, makes the snapshot, and remembers both and what is odd about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from ..platform.data import Snapshot, bundle_code, create_snapshot, read_source_files
from ..platform.errors import InvalidInput, NotFound
from ..platform.project import Project, find_project, load_project
from ..platform.quality import Anomaly, Constraints, check, has_error, infer_constraints
from ..platform.stats import ParquetFiles, Profile, profile_in_order
from ..platform.workspace import Workspace

FEWEST_ROWS = 0.5
"""A new snapshot should have so many of the rows of the one before: a source grows, and half a file is an accident."""


@dataclass(frozen=True, slots=True)
class AddedData:
    """What became of a source."""

    snapshot: Snapshot
    is_new: bool
    anomalies: tuple[Anomaly, ...] = ()
    """What it breaks of what the snapshot before kept."""


def remember_project(workspace: Workspace, project: Project, folder: Path) -> None:
    """Keep the project's file and code, so that jobs and pipelines run what is here now."""
    workspace.projects.save(project, bundle_code(folder, workspace.store))


def current_project(workspace: Workspace) -> tuple[Project, str]:
    """The project of the working folder, remembered as it is now; and the digest of its code."""
    path = find_project()
    project = load_project(path)
    remember_project(workspace, project, path.parent)
    return project, workspace.projects.load(project.name)[1]


def add_data(workspace: Workspace, project: Project, say: Callable[[str], None] | None = None) -> AddedData:
    """Make a snapshot of the project's source as it is now; the same content gives the same snapshot.

    What is new is held against the snapshot before: anomalies are kept in the store, and said where `say` is given.
    Raises InvalidInput or NotFound, with nothing stored, where the source breaks a rule, or has an anomaly that is an
    error where data.quality is `refuse`.
    """
    known = [record.digest for record in workspace.projects.snapshots(project.name)]
    before = known[-1] if known and project.data.quality != "off" else None
    found: list[Anomaly] = []

    def accept(profile: Profile, schema: pa.Schema) -> None:
        if before is None:
            return
        found.extend(check(profile, snapshot_constraints(workspace, project, before), schema))
        if project.data.quality == "refuse" and has_error(found):
            first = next(anomaly for anomaly in found if anomaly.severity == "error")
            raise InvalidInput(f"{project.data.source} is refused, as data.quality says: {first.code}, {first.reason}")

    snapshot = create_snapshot(workspace.store, project, read_source_files(project.data.source), accept)
    if found:
        kept = {"against": before, "anomalies": [anomaly.to_dict() for anomaly in found]}
        workspace.store.write(_place(project.name, snapshot.digest), json.dumps(kept, indent=1).encode())
    if not known or known[-1] != snapshot.digest:
        workspace.projects.add_snapshot(project.name, snapshot.digest, snapshot.manifest.rows)
    if say is not None:
        for anomaly in found:
            say(f"{anomaly.severity} {anomaly.code}: {anomaly.reason}")
    return AddedData(snapshot, snapshot.digest not in known, tuple(found))


def snapshot_constraints(workspace: Workspace, project: Project, digest: str) -> Constraints:
    """What a snapshot's data keep, as the next ones should."""
    before = workspace.snapshot(project.name, digest)
    try:
        profile = before.profile()
    except (NotFound, InvalidInput):  # made before profiles had this format
        places = [before.store.path(file.object_name) for file in before.manifest.files]
        profile = profile_in_order(ParquetFiles(before.store.filesystem, places))
    return replace(infer_constraints(profile), min_rows=int(before.manifest.rows * FEWEST_ROWS))


def kept_anomalies(workspace: Workspace, project: str, digest: str) -> tuple[Anomaly, ...]:
    """The anomalies that a snapshot had when it was made; none where it had none."""
    place = _place(project, digest)
    if not workspace.store.exists(place):
        return ()
    return tuple(Anomaly(**values) for values in json.loads(workspace.store.read(place))["anomalies"])


def _place(project: str, digest: str) -> str:
    return f"quality/{project}/{digest}.json"
