"""How long a change of split takes until a client sees it: all traffic to the other version, again and again."""

from __future__ import annotations

import math
import multiprocessing
import random
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import bodies
import claims
from claims import Claim
from project import NAME, PERCENT, Loop
from rayloop.jobs.serving import set_split
from rayloop.platform.workspace import Workspace
from watcher import CONNECTIONS, Seen, watch

CHANGES = 200
GOAL_MS = 50.0
PAUSE_S = (0.0, 0.2)  # one poll of the keeper, so that changes fall on any moment of it
READY_TIMEOUT_S = 30.0
HEADER = ("a change of split", "p50 ms", "p99 ms", "slowest ms")


@dataclass(frozen=True, slots=True)
class Change:
    """One call of `set_split`, and the version that it gave all traffic to."""

    called_s: float
    returned_s: float
    version: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What the changes did, in milliseconds from the call."""

    until_return_ms: Sequence[float]
    until_answer_ms: Sequence[float]
    unseen: int
    """Changes that no answer showed before the next one."""
    late: int
    """Answers of the old version to requests that were sent after `set_split` had returned."""
    failed: int

    def claims(self) -> list[Claim]:
        """Whether a change is seen soon, each time, and for good."""
        count = len(self.until_answer_ms)
        first = f"from set_split to the first answer by the new version, {count} changes"
        return [
            claims.at_most(f"p50 {first}", round(percentile(self.until_answer_ms, 50), 1), GOAL_MS, "ms"),
            claims.at_most(f"p99 {first}", round(percentile(self.until_answer_ms, 99), 1), GOAL_MS, "ms"),
            claims.at_most("changes of split that no answer showed", self.unseen, 0, "changes"),
            claims.at_most("answers of the old version asked for after set_split returned", self.late, 0, "answers"),
            claims.at_most("requests failed while the split changed", self.failed, 0, "requests"),
        ]

    def cells(self) -> list[tuple[str, ...]]:
        """Two lines under HEADER."""
        return [
            (title, *(f"{value:.1f}" for value in (percentile(times, 50), percentile(times, 99), max(times))))
            for title, times in (
                ("until the first answer by the new version", self.until_answer_ms or [float("nan")]),
                ("until set_split returns (it tells MLflow the champion too)", self.until_return_ms),
            )
        ]


def measure(loop: Loop, changes: int = CHANGES) -> Effects:
    """Move all traffic from one version to the other and back while a process beside this one asks."""
    processes = multiprocessing.get_context("spawn")
    is_over = processes.Event()
    ours, theirs = processes.Pipe(duplex=False)
    watching = processes.Process(target=watch, args=(loop.target(bodies.v2()), is_over, theirs), daemon=True)
    workspace = Workspace(loop.settings)
    try:
        set_split(workspace, NAME, [f"{min(PERCENT)}=100"], "benchmark")
        watching.start()
        theirs.close()
        if not ours.poll(READY_TIMEOUT_S):
            raise TimeoutError(f"the watching client did not start in {READY_TIMEOUT_S:g} s")
        ours.recv()
        made = _change(workspace, changes)
        is_over.set()
        seen: Seen = ours.recv()
        watching.join()
    finally:
        is_over.set()
        if watching.pid is not None and watching.is_alive():
            watching.terminate()
        workspace.close()
    return effects(made, seen)


def effects(made: Sequence[Change], seen: Seen) -> Effects:
    """Hold the changes against the answers: each change lasts until the next is called."""
    answers = sorted(seen.answers, key=lambda answer: answer[1])
    came_s = [answer[1] for answer in answers]
    until_answer_ms, unseen, late = [], 0, 0
    for place, change in enumerate(made):
        until_s = made[place + 1].called_s if place + 1 < len(made) else float("inf")
        ours = answers[bisect_left(came_s, change.called_s) : bisect_left(came_s, until_s)]
        first_s = next((got_s for _, got_s, version in ours if version == change.version), None)
        if first_s is None:
            unseen += 1
        else:
            until_answer_ms.append((first_s - change.called_s) * 1e3)
        late += sum(sent_s > change.returned_s and version != change.version for sent_s, _, version in ours)
    until_return_ms = [(change.returned_s - change.called_s) * 1e3 for change in made]
    return Effects(until_return_ms, until_answer_ms, unseen, late, seen.failed)


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of all do not pass; nan of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def describe() -> str:
    """How it was measured, in a sentence."""
    return (
        f"Changes of split are jobs.serving.set_split, 100/0 to 0/100 and back, at random moments of the keeper's "
        f"poll; a process beside it asks over {CONNECTIONS} connections without a pause."
    )


def _change(workspace: Workspace, changes: int) -> list[Change]:
    pauses = random.Random(bodies.SEED)
    first, second = sorted(PERCENT)
    made = []
    for number in range(changes):
        version = second if number % 2 == 0 else first
        time.sleep(pauses.uniform(*PAUSE_S))
        called_s = time.monotonic()
        set_split(workspace, NAME, [f"{version}=100"], "benchmark")
        made.append(Change(called_s, time.monotonic(), str(version)))
    time.sleep(PAUSE_S[1])
    return made
