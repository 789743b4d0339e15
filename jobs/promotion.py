"""Gives a version all traffic, and says how a project's versions are deployed; it loads no torch and no Ray."""

from __future__ import annotations

from typing import Any

from ..platform.project import Project
from ..platform.registry.registry import CHALLENGER, CHAMPION
from ..platform.workspace import Workspace
from ..serve.versions import wait_for_edge

WHOLE = 10_000  # a weight of 100 %


def promote_version(
    workspace: Workspace, project: Project, version: int, reason: str, *, expected_revision: int | None = None
) -> None:
    """Give a deployed version all traffic and make it the champion."""
    weights = {version: WHOLE}
    split = workspace.endpoints.set_split(project.endpoint, weights, reason, expected_revision=expected_revision)
    wait_for_edge(workspace.settings, split)
    workspace.registry.move_alias(project.name, CHAMPION, version, reason)
    if workspace.registry.alias(project.name, CHALLENGER) == version:
        workspace.registry.move_alias(project.name, CHALLENGER, None, reason)


def serve_options(project: Project) -> dict[str, Any]:
    """How a version of the project is deployed."""
    serve = project.serve
    resources = ("cpus", "gpus", "compile", "cuda_graphs")
    names = (*resources, "max_batch_rows", "batch_wait_ms", "max_queue", "request_timeout_s")
    scaling = {"replicas": serve.replicas or 1} if serve.autoscale is None else {"autoscale": dict(serve.autoscale)}
    return {**scaling, **{name: getattr(serve, name) for name in names}, "capture": dict(serve.capture)}
