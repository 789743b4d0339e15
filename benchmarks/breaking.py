"""The faults themselves: kills, scalings, changes of split, each done once when it is called, and noted when."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil
from allowed import Allowed
from by_fault import Fault
from project import NAME, Loop
from rayloop.jobs import serving
from rayloop.platform.state import Deployment
from rayloop.platform.traffic import app_name
from rayloop.platform.workspace import Workspace
from rayloop.serve.keeper import edge_folder
from rayloop.serve.versions import application_states, apply_deployments, remove_version

REPLICA = "replica killed (-9)"
EDGE = "edge killed (-9)"
SCALED = "version scaled (Serve's HAProxy reloads)"
SPLIT = "split changed"
PROMOTED = "version promoted, the old one deleted"
LAST = "the only replica killed (-9)"
# A replica that is killed meanwhile delays the wanted number; the scaling counts as carried out then all the same.
SCALED_TIMEOUT_S = 15.0
ONE_TIMEOUT_S = 60.0


class Breaker:
    """Does each fault and notes when; what finds no process to kill does and notes nothing."""

    def __init__(self, loop: Loop, workspace: Workspace, allowed: Allowed) -> None:
        self._loop, self._workspace, self._allowed = loop, workspace, allowed
        self._random = random.Random(5)
        self._proxies: set[int] = set()
        self.done: list[Fault] = []

    @property
    def reloads(self) -> int:
        """How often Serve's HAProxy was seen as another process than before."""
        return max(0, len(self._proxies) - 1)

    def kill_replica(self) -> None:
        """kill -9 of one replica of any version."""
        replicas = self._replicas()
        self._kill(REPLICA, [self._random.choice(replicas)] if replicas else [])

    def kill_only_replica(self, version: int) -> None:
        """kill -9 of every process of a version at once, those too that Serve drains."""
        self._kill(LAST, self._replicas(version))

    def kill_edge(self) -> None:
        """kill -9 of the edge's HAProxy, the newest where an older one still ends its requests."""
        edges = [process for process in self._haproxies() if self._is_edge(process)]
        self._kill(EDGE, sorted(edges, key=lambda process: process.create_time())[-1:])

    def change_split(self) -> None:
        """Another weight for version 2, from 10 to 90 %."""
        percent = self._random.randint(10, 90)
        shares = [f"1={100 - percent}", f"2={percent}"]
        with self._noted(SPLIT):
            self._split({"1", "2"}, shares)

    def scale(self, replicas: int) -> None:
        """Another number of replicas of version 2; over when as many run."""
        with self._noted(SCALED):
            self._scale(2, replicas)
            _wait(lambda: self._num_running(2) == replicas, SCALED_TIMEOUT_S)

    def promote(self) -> None:
        """All traffic to version 2, and version 1 deleted."""
        with self._noted(PROMOTED):
            self._split({"2"}, ["2=100"])
            remove_version(self._workspace, NAME, 1)

    def leave_one(self, version: int) -> None:
        """Scale a version to one replica; no fault, but what one needs. Raises TimeoutError."""
        self._scale(version, 1)
        if not _wait(lambda: self._num_running(version) == 1, ONE_TIMEOUT_S):
            raise TimeoutError(f"Serve runs {self._num_running(version)} replicas of version {version}, not one")

    def _split(self, versions: set[str], shares: list[str]) -> None:
        self._allowed.change(versions, lambda: serving.set_split(self._workspace, NAME, shares, "benchmark"))

    def _scale(self, version: int, replicas: int) -> None:
        if hasattr(serving, "scale_version"):
            serving.scale_version(self._workspace, NAME, version, replicas)
        else:  # a rayloop without it deploys the version anew with another number
            (found,) = [d for d in self._workspace.endpoints.deployments(NAME) if d.version == version]
            options = {**found.options, "replicas": replicas}
            self._workspace.endpoints.add_deployment(Deployment(NAME, version, found.artifact, options))
            apply_deployments(self._workspace)

    def _num_running(self, version: int) -> int:
        state = application_states(self._loop.settings).get(app_name(NAME, version), {})
        found = [one for deployment in state.get("deployments", {}).values() for one in deployment.get("replicas", [])]
        return sum(one.get("state") == "RUNNING" for one in found)

    def _replicas(self, version: int | None = None) -> list[psutil.Process]:
        mark = "ServeReplica" if version is None else f"ServeReplica:{app_name(NAME, version)}:"
        self._proxies |= {process.pid for process in self._haproxies() if not self._is_edge(process)}
        return [process for process in self._loop.owner.processes() if mark in _line(process)]

    def _haproxies(self) -> list[psutil.Process]:
        return [process for process in self._loop.owner.processes() if _line(process).split(" ")[0].endswith("haproxy")]

    def _is_edge(self, process: psutil.Process) -> bool:
        return str(edge_folder(self._loop.settings)) in _line(process)

    def _kill(self, kind: str, chosen: Sequence[psutil.Process]) -> None:
        if chosen:
            with suppress(ProcessLookupError), self._noted(kind):
                for process in chosen:
                    os.kill(process.pid, signal.SIGKILL)

    @contextmanager
    def _noted(self, kind: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self.done.append(Fault(kind, began_s, time.monotonic()))


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""  # gone meanwhile


def _wait(is_so: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.25)
    return True
