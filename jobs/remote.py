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
from .report import Progress, parse_line, parse_progress, parse_result

Say = Callable[[str], None]
Show = Callable[[Progress], None]


def run_remote(
    workspace: Workspace,
    module: str,
    arguments: Sequence[str],
    say: Say,
    code: str | None = None,
    *,
    job: str | None = None,
    show: Show | None = None,
) -> dict[str, Any]:
    """Submit `python -m rayloop.jobs.<module>` and follow it; `code` is the digest of the project's bundle.

    `job` names it, and `show` gets its progress, which else is said. Raises JobFailed with the job's own sentence,
    Unavailable where there is no cluster.
    """
    with tempfile.TemporaryDirectory(prefix="rayloop-code-") as folder:
        working_dir = None if code is None else unpack_code(code, workspace.store, Path(folder))
        job = submit(workspace, module, arguments, working_dir, job)
    say(f"job {job}")
    return follow(workspace, job, say, show)


def submit(
    workspace: Workspace, module: str, arguments: Sequence[str], working_dir: Path | None, job: str | None = None
) -> str:
    """Submit `python -m rayloop.jobs.<module>`; returns the job's name. Raises Unavailable."""
    cluster = Cluster.connect(settings=workspace.settings)
    entrypoint = shlex.join(["python", "-m", f"rayloop.jobs.{module}", *arguments])
    return cluster.submit(entrypoint, submission_id=job, working_dir=working_dir)


def follow(workspace: Workspace, job: str, say: Say, show: Show | None = None) -> dict[str, Any]:
    """Follow a job of ours to its result.

    Raises JobFailed, Unavailable where there is no cluster, and KeyboardInterrupt that says what goes on.
    """
    cluster = Cluster.connect(settings=workspace.settings)
    try:
        for line in cluster.logs(job, follow=True):
            text, result, progress = parse_line(line), parse_result(line), parse_progress(line)
            if text is not None:
                say(text)
            if progress is not None:
                (show or _say_progress(say))(progress)
            if result is not None:
                return result  # the last thing a job says; Ray needs seconds more to end its process
        cluster.wait(job)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"job {job} goes on: `rayloop logs {job} -f` follows it, `rayloop stop {job}` ends it"
        ) from None
    raise Unavailable(f"job {job} ended without a result: `rayloop logs {job}` says more")


def _say_progress(say: Say) -> Show:
    return lambda progress: say(str(progress))
