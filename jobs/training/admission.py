"""Waits for the workers' resources, up to a deadline; Ray itself would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ...platform.errors import Unavailable
from ...platform.project import Project

BUSY_MINUTES = 10.0
POLL_S = 0.5

Resources = Mapping[str, float]


def lacking(project: Project, have: Resources) -> str:
    """What the cluster has too little of for the fewest workers, as a sentence; nothing where it has enough."""
    train, workers = project.train, project.train.least_workers
    gpus, cpus = have.get("GPU", 0.0), have.get("CPU", 0.0)
    if train.gpu and gpus < workers:
        return (
            f"train.gpu is true and train.workers is {workers}, but the cluster has {gpus:g} GPUs: "
            "set train.gpu to false, or connect to a cluster with GPUs"
        )
    needed = workers * train.cpus_per_worker
    if cpus < needed:
        return (
            f"train.workers {workers} with {train.cpus_per_worker:g} CPUs each need {needed:g} CPUs, "
            f"but the cluster has {cpus:g}: `rayloop scale --cpus {needed:g}` adds them"
        )
    return ""


def minutes_to_wait(project: Project) -> float:
    """How long a training waits for its workers' resources, before it begins and when a node of it was lost."""
    return BUSY_MINUTES if project.train.queue_minutes is None else project.train.queue_minutes


def wait_for_resources(
    project: Project,
    all_resources: Callable[[], Resources],
    free_resources: Callable[[], Resources],
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when the fewest workers fit on what is free. Raises Unavailable at the deadline.

    What the cluster has not at all is waited for only where train.queue_minutes is set.
    """
    minutes = minutes_to_wait(project)
    deadline_s = clock() + 60 * minutes
    is_told = False
    while True:
        reason = lacking(project, all_resources())
        if reason and project.train.queue_minutes is None:
            raise Unavailable(reason)
        if not reason and lacking(project, free_resources()):
            reason = "others use what train.workers need"
        if not reason:
            return
        if clock() >= deadline_s:
            raise Unavailable(f"after {minutes:g} minutes (train.queue_minutes): {reason}")
        if not is_told:
            say(f"waiting for resources: {reason}")
            is_told = True
        sleep(POLL_S)


def shown_workers(project: Project) -> str:
    """The number of workers as a person reads it."""
    least, most = project.train.least_workers, project.train.most_workers
    return str(least) if least == most else f"{least} to {most}"
