"""Holds a shadow against the versions in traffic: finds what both captured in a window and has it compared."""

from __future__ import annotations

import time
from typing import Any

import pyarrow.compute as pc

from ..platform.errors import Conflict, InvalidInput
from ..platform.traffic import capture_schema as names
from ..platform.traffic.captured import Window, captured_versions, read_answers
from ..platform.traffic.shadow import TOLERANCE, compare_answers
from ..platform.workspace import Workspace
from .serving import project_of

LEAD_S = 60.0  # by so much a copy may come later than its request


def report_shadow(
    workspace: Workspace,
    name: str,
    version: int | None = None,
    since_s: float | None = None,
    until_s: float | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Compare what a shadow captured in a window with what other versions answered to the same requests.

    Raises Conflict where no version is named and the endpoint has no shadow, or more than one.
    """
    project, now_s = project_of(workspace, name), time.time()
    window = Window(
        now_s - project.monitor.window_minutes * 60 if since_s is None else since_s,
        now_s + 1 if until_s is None else until_s,
    )
    if window.until_s <= window.since_s:
        raise InvalidInput(f"--until {window.until_s:.0f} must lie after --since {window.since_s:.0f}")
    if not 0 <= tolerance < 1:
        raise InvalidInput(f"--tolerance {tolerance:g} must be at least 0 and below 1")
    shadow = _only_shadow(workspace, name) if version is None else version
    files, root = workspace.store.filesystem, workspace.store.path("")
    others = [found for found in captured_versions(files, root, name) if found != shadow]
    copies = read_answers(files, root, name, [shadow], window, shadow=True)
    # A copy comes after its request, so that of the window's first copies may lie before it.
    early = Window(window.since_s - LEAD_S, window.until_s)
    answers = read_answers(files, root, name, others, early, shadow=False)
    is_copied = pc.is_in(answers.column(names.REQUEST_ID), value_set=copies.column(names.REQUEST_ID).combine_chunks())
    report = compare_answers(
        answers.filter(pc.or_(is_copied, window.holds(answers.column(names.TIME)))), copies, tolerance
    )
    return {
        "endpoint": name,
        "version": shadow,
        "primary_versions": sorted(answers.filter(is_copied).column(names.VERSION).unique().to_pylist()),
        "window": [window.since_s, window.until_s],
        **report.to_dict(),
    }


def _only_shadow(workspace: Workspace, name: str) -> int:
    shadows = [shadow.version for shadow in workspace.endpoints.split(name).shadows]
    if len(shadows) != 1:
        found = f"has {len(shadows)} shadows" if shadows else "has no shadow now"
        raise Conflict(f"{name} {found}: name the version by --version")
    return shadows[0]
