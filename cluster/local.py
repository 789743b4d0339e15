"""The Ray cluster of one machine: a head process of ours, worker processes beside it, and a file that names them."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from ..platform.errors import Conflict, InvalidInput, NotFound, Unavailable
from ..platform.settings import CLUSTER_FILE, Settings
from . import processes
from .environment import REPLICA_HOST, cluster_environment
from .ports import free_port, require_free_ports

START_TIMEOUT_S = 90.0
STOP_GRACE_S = 3.0
# Ray counts logical processors: small actors hold parts of one, and two training workers must fit beside them.
LEAST_CPUS = 8
KNOWN_KEYS = {"id", "head", "gcs_address", "temp_folder", "serve_ports", "boot_s", "sessions", "workers", "services"}


class LocalCluster:
    """A cluster on this machine, described by `cluster.json` in the home folder while it lives."""

    def __init__(self, settings: Settings, known: dict[str, Any]) -> None:
        self.settings = settings
        self._known = known

    @property
    def cluster_id(self) -> str:
        """The mark that every process of the cluster carries."""
        return str(self._known["id"])

    @property
    def gcs_address(self) -> str:
        """Where Ray nodes join the cluster."""
        return str(self._known["gcs_address"])

    @property
    def temp_folder(self) -> Path:
        """Ray's own files: sockets, logs, spilled objects."""
        return Path(self._known["temp_folder"])

    @property
    def owner(self) -> processes.Owner:
        """How the cluster's processes are found."""
        return processes.Owner(self.cluster_id, tuple(self._known["sessions"]), self._known["boot_s"])

    @classmethod
    def find(cls, settings: Settings) -> LocalCluster | None:
        """The cluster that this home folder describes, dead or alive; None where there is none."""
        path = settings.home / CLUSTER_FILE
        try:
            known = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            known = None
        if not isinstance(known, dict) or not known.keys() >= KNOWN_KEYS:
            raise InvalidInput(f"{path} is damaged: end by hand what it started, and remove it")
        return cls(settings, known)

    @classmethod
    def start(
        cls,
        settings: Settings,
        *,
        cpus: int | None = None,
        gpus: int | None = None,
        ports: dict[str, int] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> LocalCluster:
        """Start a head on this machine. `ports` names further ports that must be free.

        Raises Conflict where one runs already or a port is busy; nothing is started or written then.
        """
        running = cls.find(settings)
        if running is not None and running.is_alive:
            raise Conflict(
                f"a local cluster is running already (process {running._known['head']}, {settings.address}): "
                "use it, or end it with `rayloop down`"
            )
        require_free_ports("127.0.0.1", {"RAYLOOP_DASHBOARD_PORT": settings.dashboard_port, **(ports or {})})
        settings.home.mkdir(parents=True, exist_ok=True)
        gcs_port = free_port()
        cluster = cls(
            settings,
            {
                "id": uuid.uuid4().hex,
                "gcs_address": f"127.0.0.1:{gcs_port}",
                "temp_folder": tempfile.mkdtemp(prefix="rayloop-"),  # short: Ray's sockets lie below it
                "settings": settings.model_dump(mode="json", exclude={"home"}),
                "serve_ports": {"fallback": free_port(), "stats": free_port(), "metrics": free_port()},
                "boot_s": psutil.boot_time(),
                "sessions": [],
                "workers": [],
                "services": {},
            },
        )
        say("starting Ray")
        command = ["--head", f"--port={gcs_port}", "--dashboard-host=127.0.0.1", "--include-dashboard=true"]
        command += [f"--dashboard-port={settings.dashboard_port}", f"--temp-dir={cluster.temp_folder}"]
        cluster._known["head"] = cluster._spawn_node(command, cpus or max(LEAST_CPUS, os.cpu_count() or 1), gpus)
        cluster._save()
        try:
            cluster._wait_until_ready()
        except Unavailable:
            cluster.stop()
            raise
        return cluster

    @property
    def is_alive(self) -> bool:
        """True while the head process runs, and is ours and not a later one with the same number."""
        return any(process.pid == self._known["head"] for process in self.owner.processes())

    def environment(self) -> dict[str, str]:
        """What every process of the cluster inherits."""
        serve = self._known["serve_ports"]
        haproxy = self.temp_folder / "haproxy"
        return {
            **cluster_environment(self.settings),
            processes.MARK: self.cluster_id,
            REPLICA_HOST: "127.0.0.1",  # Ray takes the machine's own address even where it was given loopback
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(serve["fallback"]),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(serve["stats"]),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(serve["metrics"]),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        }

    def spawn_service(self, name: str, command: list[str]) -> None:
        """Start a process that lives and ends with the cluster."""
        self._known["services"][name] = self._spawn(command, f"{name}.log")
        self._save()

    def service_is_alive(self, name: str) -> bool:
        """True while a process started by `spawn_service` runs."""
        pid = self._known["services"].get(name)
        return pid is not None and processes.is_alive(pid)

    def add_node(self, cpus: int, gpus: int) -> None:
        """Start one more Ray node on this machine."""
        # A node unpacks a job's folder anew: in a shared place it would take it away under jobs that run.
        folder = self.temp_folder / f"n{uuid.uuid4().hex[:4]}"
        arguments = [f"--address={self.gcs_address}", f"--temp-dir={folder}"]
        node = {"pid": self._spawn_node(arguments, cpus, gpus), "cpus": cpus, "gpus": gpus, "folder": str(folder)}
        self._known["workers"].append(node)
        self._save()

    def forget_dead_nodes(self) -> None:
        """Count no node among those that can be removed whose process has ended by itself."""
        living = {process.pid for process in self.owner.processes()}
        self._known["workers"] = [node for node in self._known["workers"] if node["pid"] in living]
        self._save()

    def remove_node(self) -> bool:
        """End the node that was added last; False where none is left. Work on it starts again elsewhere."""
        if not self._known["workers"]:
            return False
        node = self._known["workers"].pop()
        self._save()
        if any(process.pid == node["pid"] for process in self.owner.processes()):
            processes.end_tree(node["pid"])
        shutil.rmtree(node.get("folder", ""), ignore_errors=True)
        return True

    def stop(self) -> None:
        """End every process of the cluster and remove what it left behind; the home folder's data stays."""
        # Ray drains for long, and nothing here waits for it: what lasts is in SQL and in the store.
        self.owner.end_all(grace_s=STOP_GRACE_S)
        shutil.rmtree(self.temp_folder, ignore_errors=True)
        (self.settings.home / CLUSTER_FILE).unlink(missing_ok=True)

    def _spawn_node(self, arguments: list[str], cpus: int, gpus: int | None) -> int:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", f"--num-cpus={cpus}"]
        command += [f"--num-gpus={gpus}"] if gpus is not None else []
        ports = ("dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")
        command += [f"--{name}={free_port()}" for name in ports]
        if "--head" in arguments:
            command += [f"--ray-client-server-port={free_port()}"]
        return self._spawn(command, "ray.log")

    def _spawn(self, command: list[str], log: str) -> int:
        pid = processes.spawn(command, self.environment(), self.settings.home / "logs" / log)
        self._known["sessions"].append(pid)
        return pid

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        url = f"http://127.0.0.1:{self.settings.dashboard_port}/api/v0/nodes"
        while time.monotonic() < deadline:
            if not processes.is_alive(self._known["head"]):
                break
            try:
                if httpx.get(url, timeout=2).json()["data"]["result"]["result"]:
                    return
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                pass  # not up yet
            time.sleep(0.1)
        log = self.settings.home / "logs" / "ray.log"
        raise Unavailable(f"Ray did not start within {START_TIMEOUT_S:.0f} s; its last words are in {log}")

    def _save(self) -> None:
        path = self.settings.home / CLUSTER_FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._known, indent=1))
        temporary.replace(path)


def scale_local(cluster: LocalCluster, have_cpus: float, have_gpus: float, cpus: int | None, gpus: int | None) -> None:
    """Add or remove nodes until the totals are as asked for; the head itself is never removed.

    Raises Conflict where the head alone has more.
    """
    cluster.forget_dead_nodes()
    more_cpus = math.ceil((cpus if cpus is not None else have_cpus) - have_cpus)
    more_gpus = math.ceil((gpus if gpus is not None else have_gpus) - have_gpus)
    while more_cpus < 0 or more_gpus < 0:
        workers = cluster._known["workers"]
        if not workers:
            raise Conflict(
                f"the head itself has {have_cpus:g} CPUs and {have_gpus:g} GPUs: fewer need `rayloop down` and "
                "`rayloop up --cpus N`"
            )
        last = workers[-1]
        cluster.remove_node()
        have_cpus, have_gpus = have_cpus - last["cpus"], have_gpus - last["gpus"]
        more_cpus, more_gpus = more_cpus + last["cpus"], more_gpus + last["gpus"]
    if more_cpus or more_gpus:
        cluster.add_node(more_cpus, more_gpus)


def require_local(settings: Settings) -> LocalCluster:
    """The local cluster of this home folder. Raises NotFound."""
    cluster = LocalCluster.find(settings)
    if cluster is None:
        raise NotFound(f"no local cluster is running for {settings.home}")
    return cluster
