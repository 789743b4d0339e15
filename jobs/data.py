"""Adds data: reads a project's source, makes the snapshot, and remembers both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..platform.data import Snapshot, bundle_code, create_snapshot, read_source_files
from ..platform.project import Project, find_project, load_project
from ..platform.workspace import Workspace


@dataclass(frozen=True, slots=True)
class AddedData:
    """What became of a source."""

    snapshot: Snapshot
    is_new: bool


def remember_project(workspace: Workspace, project: Project, folder: Path) -> None:
    """Keep the project's file and code, so that jobs and pipelines run what is here now."""
    workspace.projects.save(project, bundle_code(folder, workspace.store))


def current_project(workspace: Workspace) -> tuple[Project, str]:
    """The project of the working folder, remembered as it is now; and the digest of its code."""
    path = find_project()
    project = load_project(path)
    remember_project(workspace, project, path.parent)
    return project, workspace.projects.load(project.name)[1]


def add_data(workspace: Workspace, project: Project) -> AddedData:
    """Make a snapshot of the project's source as it is now; the same content gives the same snapshot.

    Raises InvalidInput or NotFound, with nothing stored, where the source breaks a rule.
    """
    snapshot = create_snapshot(workspace.store, project, read_source_files(project.data.source))
    known = [record.digest for record in workspace.projects.snapshots(project.name)]
    if not known or known[-1] != snapshot.digest:
        workspace.projects.add_snapshot(project.name, snapshot.digest, snapshot.manifest.rows)
    return AddedData(snapshot, snapshot.digest not in known)
