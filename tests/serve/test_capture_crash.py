"""A process that dies loses no prediction older than a second, and one that drains loses none."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

# Offers a row each 2 ms, as a replica does, and then says which, and when it had done so.
SCRIPT = """
import signal, sys, threading, time
import numpy as np
from rayloop.platform.model.signature import ColumnSpec, Signature
from rayloop.serve.capture import Capture, Record
from rayloop.serve.protocol.arrival import Arrival

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
signature = Signature((ColumnSpec("x", "FP32"),), (ColumnSpec("y", "FP32"),))
capture = Capture("digits", 1, signature, sys.argv[1])
number = 0
while not ended.wait(0.002):
    x = np.array([number], dtype=np.float32)
    arrival = Arrival(str(number), time.time_ns() // 1000, time.perf_counter())
    capture.offer(Record(arrival, 0.1, 200, 1, None, {"x": x}, {"y": x}))
    print(number, time.monotonic(), flush=True)
    number += 1
assert capture.close()
"""
MOST_LOST_S = 1.0


class Capturing:
    """A process that captures, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.offered_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number, _, at_s = line.partition(" ")
            if at_s.endswith("\n"):
                self.offered_s[number] = float(at_s)

    def run_for(self, seconds: float) -> None:
        """Wait until it has captured for so long, by its own clock."""
        while self.process.poll() is None:
            times = list(self.offered_s.values())
            if times and times[-1] - times[0] >= seconds:
                return
            time.sleep(0.01)
        raise AssertionError(f"it ended by itself with {self.process.returncode}")

    def end(self, how: signal.Signals) -> float:
        """Send a signal and hear all that it still says; returns when the signal was sent."""
        at_s = time.monotonic()  # one clock for all processes of a machine
        self.process.send_signal(how)
        self.process.wait(30)
        self._thread.join(30)
        return at_s


@contextmanager
def capturing(folder: Path) -> Iterator[Capturing]:
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Capturing(process)
        finally:
            process.kill()


def written(folder: Path) -> list[str]:
    """Ids of all rows in files that a reader sees, each of which must be whole."""
    found: list[str] = []
    for path in sorted(folder.rglob("[!_.]*.parquet")):
        found += pq.read_table(path, columns=["request_id"], partitioning=None)["request_id"].to_pylist()
    return found


@pytest.mark.parametrize("after_s", [1.9, 2.2])
def test_a_killed_process_loses_at_most_a_second(tmp_path: Path, after_s: float) -> None:
    with capturing(tmp_path) as capture:
        capture.run_for(after_s)
        killed_s = capture.end(signal.SIGKILL)
    assert capture.process.returncode == -signal.SIGKILL
    kept = written(tmp_path)
    assert len(kept) == len(set(kept))
    # A machine that kept the process from offering kept it from writing too, which is not the capture's doing.
    starved_s = max(after - before for before, after in pairwise(capture.offered_s.values()))
    old = {number for number, at_s in capture.offered_s.items() if at_s < killed_s - MOST_LOST_S - starved_s}
    assert len(old) > 100
    assert old - set(kept) == set()


def test_a_drained_process_loses_nothing(tmp_path: Path) -> None:
    with capturing(tmp_path) as capture:
        capture.run_for(0.8)
        capture.end(signal.SIGTERM)
    assert capture.process.returncode == 0
    assert len(capture.offered_s) > 100
    assert sorted(written(tmp_path)) == sorted(capture.offered_s)
