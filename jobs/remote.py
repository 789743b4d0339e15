"""Runs a job of ours on the cluster and waits for it: its lines for a person, its result for the caller."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..cluster import Cluster
from ..platform.data import unpack_code
from ..platform.errors import Unavailable
from ..platform.workspace import Workspace
from .report import parse_line, parse_result

Say = Callable[[str], None]


def run_remote(
    workspace: Workspace, module: str, arguments: Sequence[str], say: Say, code: str | None = None
) -> dict[str, Any]:
    """Submit `python -m rayloop.jobs.<module>` and follow it; `code` is the digest of the project's bundle.

    Raises JobFailed with the job's own sentence, Unavailable where there is no cluster.
    """
    cluster = Cluster.connect(settings=workspace.settings)
    entrypoint = shlex.join(["python", "-m", f"rayloop.jobs.{module}", *arguments])
    with tempfile.TemporaryDirectory(prefix="rayloop-code-") as folder:
        working_dir = None
        if code is not None:
            working_dir = unpack_code(code, workspace.store, Path(folder))
        job = cluster.submit(entrypoint, working_dir=working_dir)
    say(f"job {job}")
    for line in cluster.logs(job, follow=True):
        text, result = parse_line(line), parse_result(line)
        if text is not None:
            say(text)
        if result is not None:
            return result  # the last thing a job says; Ray needs seconds more to end its process
    cluster.wait(job)
    raise Unavailable(f"job {job} ended without a result: `rayloop logs {job}` says more")
