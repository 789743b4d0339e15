"""Starts processes that outlive us, and finds and ends all that came of them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Owner:
    """How the processes of one cluster are known: by the mark they inherited, or by a session that we began.

    Both are needed: Ray's own processes overwrite their environment with a title, and its jobs begin sessions of
    their own. `boot_s` is when the machine started: numbers of sessions mean nothing after the next start.
    """

    cluster_id: str
    sessions: tuple[int, ...]
    boot_s: float

    def processes(self) -> list[psutil.Process]:
        """Every living process of the cluster, ourselves and our parents left out."""
        own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        # The clock's adjustments move the computed start of the machine a little.
        sessions = set(self.sessions) if abs(psutil.boot_time() - self.boot_s) < 60 else set()
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if os.getsid(process.pid) in sessions or process.environ().get(MARK) == self.cluster_id:
                    found.append(process)
            except (psutil.Error, OSError):
                continue  # gone meanwhile, or another user's
        return found

    def end_all(self, grace_s: float = 10.0) -> None:
        """End every process of the cluster: each is asked to, and killed where it lives on after the grace."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.terminate()
        deadline = time.monotonic() + grace_s
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        for attempt in range(20):  # a process that starts another while we look is caught the next time round
            left = self.processes()
            if not left:
                return
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=0.1 * (attempt + 1))


def is_alive(pid: int) -> bool:
    """True where the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


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
