"""Processes that we start live apart from us, are found again by mark or session, and all end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rayloop.cluster.processes import MARK, Owner, end_tree, is_alive, spawn

# They are meant to outlive us, so nobody waits for them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

DEADLINE_S = 10.0
# A parent and its child, each in a session of its own, deaf to SIGTERM; says both numbers when it is.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""
OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Started:
    """Processes of one made-up cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster_id = uuid.uuid4().hex
        self.pids: list[int] = []

    def start(self, code: str, *, marked: bool = True) -> int:
        """Run code; returns when it has printed its first line, with its number."""
        environment = {**os.environ, **({MARK: self.cluster_id} if marked else {})}
        log = self.folder / "logs" / f"{len(self.pids)}.log"
        pid = spawn([sys.executable, "-c", code], environment, log)
        wait_until(lambda: log.read_text().endswith("\n"))
        self.pids += [pid, *(int(word) for word in log.read_text().split() if word.isdigit() and int(word) != pid)]
        return pid

    def owner(self, *sessions: int, boot_s: float | None = None) -> Owner:
        return Owner(self.cluster_id, sessions, psutil.boot_time() if boot_s is None else boot_s)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    found = Started(tmp_path)
    yield found
    for pid in found.pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def numbers(owner: Owner) -> set[int]:
    return {process.pid for process in owner.processes()}


def test_spawn_starts_a_session_of_its_own_and_writes_its_output_down(started: Started) -> None:
    pid = started.start("import os; print(os.getcwd(), flush=True); import time; time.sleep(60)")
    assert is_alive(pid)
    assert os.getsid(pid) == pid
    assert (started.folder / "logs" / "0.log").read_text() == "/\n"


def test_a_process_is_found_by_its_mark(started: Started) -> None:
    pid = started.start(OBEDIENT)
    assert numbers(started.owner()) == {pid}
    assert numbers(Owner(uuid.uuid4().hex, (), psutil.boot_time())) == set()


def test_a_process_that_lost_its_mark_is_found_by_its_session(started: Started) -> None:
    pid = started.start(OBEDIENT, marked=False)
    assert numbers(started.owner()) == set()
    assert numbers(started.owner(pid)) == {pid}


def test_sessions_of_before_the_machine_started_anew_mean_nothing(started: Started) -> None:
    pid = started.start(OBEDIENT, marked=False)
    assert numbers(started.owner(pid, boot_s=psutil.boot_time() - 3600)) == set()


def test_we_and_our_parents_are_never_found(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, started.cluster_id)
    assert os.getpid() not in numbers(started.owner(os.getsid(0)))
    assert os.getppid() not in numbers(started.owner(os.getsid(0)))


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert not is_alive(process.pid)
    process.wait()
    assert not is_alive(process.pid)


def test_end_all_ends_obedient_processes_at_once(started: Started) -> None:
    first, second = started.start(OBEDIENT), started.start(OBEDIENT)
    began_s = time.monotonic()
    started.owner(first, second).end_all()
    assert not is_alive(first)
    assert not is_alive(second)
    assert time.monotonic() - began_s < 2


def test_end_all_ends_a_tree_that_ignores_sigterm(started: Started) -> None:
    parent = started.start(STUBBORN)
    assert len(started.pids) == 2
    started.owner(parent).end_all(grace_s=0.4)
    assert [pid for pid in started.pids if is_alive(pid)] == []


def test_end_all_leaves_strangers_alone_that_got_an_old_number(started: Started) -> None:
    stranger = started.start(OBEDIENT, marked=False)
    started.owner().end_all(grace_s=0.2)
    assert is_alive(stranger)


def test_end_all_of_nothing_returns(started: Started) -> None:
    started.owner(1 << 22).end_all()


def test_end_tree_ends_children_that_ignore_sigterm(started: Started) -> None:
    parent = started.start(STUBBORN)
    other = started.start(OBEDIENT)
    end_tree(parent, grace_s=0.3)
    assert [pid for pid in started.pids if is_alive(pid)] == [other]
    end_tree(parent)  # a second time there is nothing to do
