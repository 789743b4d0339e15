"""Starts the servers that are measured, waits until they answer, and ends all that came of them."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from rayloop.cluster.processes import MARK, Owner, is_alive, spawn
from target import Target

START_TIMEOUT_S = 90.0
GRACE_S = 5.0
_OTHERS = ("RAYLOOP_", "MLFLOW_", "RAY_", "BENTOML_", "MLSERVER_", "PYTHON", "OMP_")


class NotStarted(Exception):
    """A server ended or stayed silent; the text quotes the end of its log."""


def clean_environment(**more: str) -> dict[str, str]:
    """The caller's environment without any variable that configures a server, and one thread for each kernel."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OTHERS)}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **more}


class Processes:
    """Every process that was started here, each in a session of its own; leaving the context ends them all.

    Ray's processes and those that servers fork are found by the mark that they inherit, or by their session.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._mark = uuid.uuid4().hex
        self._started: dict[str, int] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        hold_interrupts()
        for name in list(self._started):
            self.end(name)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a server; its output goes to a log of its name."""
        log = self._logs / f"{name}.log"
        self._started[name] = spawn(command, {**environment, MARK: f"{self._mark}-{name}"}, log)

    def end(self, name: str) -> None:
        """End one server and all that it started; does nothing where there is none."""
        owner = self.owner(name)
        if owner is not None:
            owner.end_all(GRACE_S)
            del self._started[name]

    def owner(self, name: str) -> Owner | None:
        """How the processes of a server are found; None for one that was not started here."""
        session = self._started.get(name)
        return None if session is None else Owner(f"{self._mark}-{name}", (session,), psutil.boot_time())

    def wait(self, name: str, target: Target) -> Any:
        """The first good answer of a server. Raises NotStarted where it ends, or gives none in time.

        A server that was not started here, such as rayloop itself, is only asked.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        said = ""
        pid = self._started.get(name)
        while time.monotonic() < deadline and (pid is None or is_alive(pid)):
            try:
                return ask(target)
            except urllib.error.HTTPError as error:
                said = f"it answers {error.code}: {error.read()[:200].decode(errors='replace')}"
            except (OSError, ValueError):
                pass  # not up yet
            time.sleep(0.1)
        log = self._logs / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        raise NotStarted(said or (lines or ["no output"])[-1])


def processor_s(owner: Owner | None) -> float:
    """The processor time that a server's living processes have used; nan where nobody knows them."""
    if owner is None:
        return float("nan")
    used_s = 0.0
    for process in owner.processes():
        with suppress(psutil.Error):
            used_s += sum(process.cpu_times()[:2])
    return used_s


def hold_interrupts() -> None:
    """Let a second Ctrl-C not cut the ending short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ask(target: Target) -> Any:
    """Send one request and read the JSON. Raises HTTPError for a bad answer, OSError where there is none."""
    return json.loads(ask_raw(target)[0])


def ask_raw(target: Target) -> tuple[bytes, Message]:
    """The same, with the body as it came, and the headers."""
    request = urllib.request.Request(target.url, target.body, dict(target.headers))
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read(), answer.headers
