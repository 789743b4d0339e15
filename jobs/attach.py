"""The attach job: makes a cluster a rayloop cluster by starting the edge's keeper and the steward on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click
import ray

from ..cluster import check_environment
from ..platform.settings import Settings
from ..platform.workspace import Workspace
from ..serve.versions import apply_deployments
from ..serve.wiring import start_edge_keeper
from .report import run_job, say
from .wiring import start_control, start_steward


@click.command()
def main() -> None:
    """Start what stays on this cluster; harmless where it runs already."""

    def work() -> Mapping[str, Any]:
        check_environment(os.environ)
        context = ray.init(log_to_driver=False, configure_logging=False)
        # Whoever attaches may know the cluster by another name; what stays on it asks its own dashboard.
        settings = Settings.load(address=f"http://{context.dashboard_url}")
        start_edge_keeper(settings)
        control = start_control(settings)
        start_steward(settings)
        apply_deployments(Workspace(settings))
        ray.get(control)
        say("the edge, the steward and the control API are up")
        return {"edge": settings.edge_url}

    run_job(work)


if __name__ == "__main__":
    main()
