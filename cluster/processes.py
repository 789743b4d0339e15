"""Starts processes that outlive us, and ends all that carry our mark; the mark is a variable they inherit."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

MARK = "RAYLOOP_CLUSTER_ID"


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Start a process in a session of its own, its output in `log`; returns its id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    return process.pid


def marked(cluster_id: str) -> list[psutil.Process]:
    """Every living process of ours that inherited the mark of a cluster."""
    found = []
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            living = process.pid not in own and process.status() != psutil.STATUS_ZOMBIE
            if living and process.environ().get(MARK) == cluster_id:
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or another user's
    return found


def end_all(cluster_id: str, first: Sequence[int] = (), grace_s: float = 10.0) -> None:
    """End every marked process: those in `first` are asked to, then all; what is left after the grace is killed."""
    for pid in first:
        _signal(pid)
    deadline = time.monotonic() + grace_s
    while marked(cluster_id) and time.monotonic() < deadline - grace_s / 2:
        time.sleep(0.1)
    for process in marked(cluster_id):
        _signal(process.pid)
    while marked(cluster_id) and time.monotonic() < deadline:
        time.sleep(0.1)
    for attempt in range(20):  # a process that starts another while we look is caught the next time round
        left = marked(cluster_id)
        if not left:
            return
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(left, timeout=0.1 * (attempt + 1))


def is_alive(pid: int) -> bool:
    """True where the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(pid: int) -> None:
    try:
        psutil.Process(pid).terminate()
    except psutil.Error:
        return


def end_tree(pid: int, grace_s: float = 10.0) -> None:
    """End a process and all that it started."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        root.terminate()
    except psutil.Error:
        return
    _, left = psutil.wait_procs(family, timeout=grace_s)
    for process in left:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(left, timeout=grace_s)
