"""Watches the memory of a cluster's processes while it works, and judges whether it grew; it sends no request."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rayloop.cluster.processes import Owner

MIB = 2**20
MOST_GROWTH_PERCENT = 5.0
SMALL_BYTES = 30 * MIB
SMALL_SLACK_BYTES = 2 * MIB
# Shares of the whole run: minutes 5 to 7 and the last two of thirty.
FIRST = (5 / 30, 7 / 30)
LAST = (28 / 30, 1.0)
HEADER = ("process", "pid", "RSS MiB", "at the end", "growth %", "USS MiB", "at the end", "PSS MiB", "at the end", "")


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment; bytes."""

    at_s: float
    pid: int
    created_s: float
    name: str
    rss: int
    uss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Growth:
    """One process from the first window to the last; medians, nan where it did not live in a window."""

    name: str
    pid: int
    rss: tuple[float, float]
    uss: tuple[float, float]
    pss: tuple[float, float]

    @property
    def lived_through(self) -> bool:
        """True where it lived in both windows."""
        return self.rss[0] == self.rss[0] and self.rss[1] == self.rss[1]

    @property
    def percent(self) -> float:
        """How much its resident memory grew."""
        return 100 * (self.rss[1] / self.rss[0] - 1)

    @property
    def is_small(self) -> bool:
        """True where a few pages would be percents: such a process has an absolute slack."""
        return self.rss[0] < SMALL_BYTES

    @property
    def is_flat(self) -> bool:
        """Within the bound; a process that did not live through is not judged."""
        if not self.lived_through:
            return True
        if self.is_small:
            return self.rss[1] - self.rss[0] <= SMALL_SLACK_BYTES
        return self.percent <= MOST_GROWTH_PERCENT

    def cells(self) -> tuple[str, ...]:
        """A line under HEADER."""
        pairs = [_mib(value) for measure in (self.rss, self.uss, self.pss) for value in measure]
        growth = f"{self.percent:+.1f}" if self.lived_through else ""
        verdict = "small" if self.is_small else ""
        if not self.lived_through:
            verdict = "came" if self.rss[1] == self.rss[1] else "ended"
        return (self.name, str(self.pid), *pairs[:2], growth, *pairs[2:], verdict if self.is_flat else "grew")


class Watch:
    """Samples every process of a cluster, on a thread, until the context is left."""

    def __init__(self, owner: Owner, period_s: float) -> None:
        self._owner, self._period_s = owner, period_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._is_over.wait(self._period_s):
            at_s = time.monotonic() - began_s
            for process in self._owner.processes():
                try:
                    with process.oneshot():
                        memory = process.memory_full_info()
                        name = name_of(process.cmdline() or [process.name()])
                        born_s = process.create_time()
                    self.samples.append(Sample(at_s, process.pid, born_s, name, memory.rss, memory.uss, memory.pss))
                except psutil.Error:
                    continue  # gone meanwhile


def growths(samples: Sequence[Sample], lasts_s: float) -> list[Growth]:
    """Each process that lived in one of the windows, the largest first."""
    by_process: dict[tuple[int, float], list[Sample]] = {}
    for sample in samples:
        by_process.setdefault((sample.pid, sample.created_s), []).append(sample)
    found = []
    for (pid, _), taken in by_process.items():
        windows = [
            [sample for sample in taken if since * lasts_s <= sample.at_s <= until * lasts_s]
            for since, until in (FIRST, LAST)
        ]
        if not any(windows):
            continue
        rss, uss, pss = (
            (_median([getattr(one, what) for one in windows[0]]), _median([getattr(one, what) for one in windows[1]]))
            for what in ("rss", "uss", "pss")
        )
        found.append(Growth(taken[-1].name, pid, rss, uss, pss))
    return sorted(found, key=lambda growth: -max(value for value in growth.rss if value == value))


def name_of(command: Sequence[str]) -> str:
    """A short name of a process by its command line.

    >>> name_of(["/usr/bin/python3", "-u", "-m", "rayloop.jobs.steward", "--now"])
    'python3 -m rayloop.jobs.steward'
    """
    words = [word for whole in command for word in whole.split()]
    if words[0].startswith("ray::"):
        return words[0].partition(".")[0]  # then comes the method that it runs just now
    name = Path(words[0]).name
    if "-m" in words[1:-1]:
        return f"{name} -m {words[words.index('-m') + 1]}"
    files = [Path(word) for word in words[1:]]
    configurations = [f"{path.parent.name}/{path.name}" for path in files if path.suffix == ".cfg"]
    scripts = [path.name for path in files if path.suffix == ".py"] if name.startswith("python") else []
    return " ".join([name, *configurations[:1], *scripts[:1]])


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


def _mib(value: float) -> str:
    return f"{value / MIB:.1f}" if value == value else ""
