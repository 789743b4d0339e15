"""Trains a registered version again from what its run kept, and compares every weight."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ...platform.workspace import Workspace
from ..remote import Say, Show, follow, submit
from .evidence import find_evidence, require_data
from .rebuild import rebuild_code
from .report import Report

__all__ = ["Report", "reproduce_version"]


def reproduce_version(
    workspace: Workspace,
    model: str,
    version: int,
    repository: Path,
    tolerance: float | None,
    say: Say,
    show: Show | None = None,
) -> Report:
    """Check code and data here, train again as a Ray job, and return its report.

    Raises NotFound where something was not kept, DataChanged, Unavailable, or what the training raises.
    """
    evidence = find_evidence(workspace, model, version)
    require_data(workspace, evidence)  # before a cluster is asked
    with tempfile.TemporaryDirectory(prefix="rayloop-reproduce-") as scratch:
        rebuilt = rebuild_code(workspace.store, evidence.run, repository, Path(scratch))
        arguments = [model, str(version), "--code", json.dumps(rebuilt.notes)]
        arguments += [] if tolerance is None else ["--tolerance", repr(tolerance)]
        job = submit(workspace, "reproduce", arguments, rebuilt.folder)
    say(f"job {job}")
    return Report.from_dict(follow(workspace, job, say, show))
