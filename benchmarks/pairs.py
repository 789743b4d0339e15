"""Two ways to ask one rayloop, loaded in turns: binary beside JSON, and micro-batching beside none."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import bodies
import claims
import load
from claims import Claim
from load import Measured
from processes import ask, ask_raw
from project import Loop, project_file
from rayloop.jobs.pipeline import serve_options
from rayloop.platform.project import parse_project
from rayloop.platform.project.schema import ServeConfig
from rayloop.platform.state import Deployment
from rayloop.platform.workspace import Workspace
from rayloop.serve.versions import deploy_version
from target import Target

ROWS = 256
BINARY_CONNECTIONS = 32
BINARY_GOAL = 5.0
WIDE = "wide"
HIDDEN = "[1024, 1024, 1024, 1024]"
BATCHING_CONNECTIONS = 64
BATCHING_GOAL = 2.0
HEADER = ("asked", "connections", "requests/s", "rows/s", "ratio", "p50 ms", "p99 ms", "failed")


class NotMeasured(Exception):
    """A pair can't be compared; the text says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`ours` should be so many times as fast as `base`, in rows a second."""

    name: str
    ours: Target
    base: Target
    titles: tuple[str, str]
    connections: int
    goal: float


@dataclass(frozen=True, slots=True)
class Compared:
    """Rounds of both sides, taken in turns."""

    pair: Pair
    ours: tuple[Measured, ...]
    base: tuple[Measured, ...]
    warm_up_rows: int

    @property
    def answered_rows(self) -> int:
        """The rows of all good answers, those of the warm-up too."""
        ours, base = (sum(one.answered for one in rounds) for rounds in (self.ours, self.base))
        return ours * self.pair.ours.rows + base * self.pair.base.rows + self.warm_up_rows

    @property
    def ratio(self) -> float:
        """Rows a second of the one by the other's, round by round; the median."""
        rows = self.pair.ours.rows / self.pair.base.rows
        return statistics.median(
            rows * one.rate / max(other.rate, 1e-9) for one, other in zip(self.ours, self.base, strict=True)
        )

    def claims(self) -> list[Claim]:
        """Whether the ratio is reached, and every request was answered."""
        failed = sum(one.failed for one in (*self.ours, *self.base))
        name = f"{self.pair.name}, {self.pair.connections} connections"
        return [
            claims.at_least(f"rows/s {name}", round(self.ratio, 2), self.pair.goal, "times"),
            claims.at_most(f"requests failed {name}", failed, 0, "requests"),
        ]

    def cells(self) -> list[tuple[str, ...]]:
        """Two lines under HEADER."""
        found: list[tuple[str, ...]] = []
        for title, target, rounds, ratio in (
            (self.pair.titles[0], self.pair.ours, self.ours, f"{self.ratio:.2f}"),
            (self.pair.titles[1], self.pair.base, self.base, ""),
        ):
            rate, p50, p99 = (
                statistics.median(getattr(one, what) for one in rounds) for what in ("rate", "p50_ms", "p99_ms")
            )
            failed = sum(one.failed for one in rounds)
            cells = (f"{rate:,.0f}", f"{rate * target.rows:,.0f}", ratio, f"{p50:.2f}", f"{p99:.2f}", str(failed))
            found.append((title, str(self.pair.connections), *cells))
        return found


def compare(pair: Pair, rounds: int, seconds: float, warm_up_s: float, say: Callable[[str], None]) -> Compared:
    """Warm both sides up, looking at each status, then load them in turns."""
    sides = (pair.ours, pair.base)
    warm_up_rows = 0
    for side in sides:
        found = load.measure(side, pair.connections, warm_up_s, each_status=True)
        if found.failed:
            raise NotMeasured(f"{found.failed} of {found.failed + found.answered} requests failed in the warm-up")
        warm_up_rows += found.answered * side.rows
    measured: tuple[list[Measured], list[Measured]] = ([], [])
    for number in range(rounds):
        for side, title, kept in zip(sides, pair.titles, measured, strict=True):
            kept.append(load.measure(side, pair.connections, seconds))
            say(f"round {number + 1}, {title}: {kept[-1].rate * side.rows:,.0f} rows/s, p99 {kept[-1].p99_ms:.2f} ms")
    return Compared(pair, tuple(measured[0]), tuple(measured[1]), warm_up_rows)


def binary(loop: Loop) -> Pair:
    """The same 256 rows by the binary tensor extension and as JSON, at one endpoint. Raises NotMeasured."""
    body, headers = bodies.v2_binary(ROWS)
    ours = loop.target(body, headers=headers, rows=ROWS)
    base = loop.target(bodies.v2(ROWS), rows=ROWS)
    pinned = (loop.target(body, 1, headers=headers), loop.target(bodies.v2(ROWS), 1))
    answer, found = ask_raw(pinned[0])
    by_binary = bodies.binary_probabilities(answer, int(found[bodies.LENGTH_HEADER]))
    if bodies.differ(bodies.probabilities(ask(pinned[1])), by_binary):
        raise NotMeasured("the binary answer holds other numbers than the JSON answer")
    titles = (f"{ROWS} rows, binary", f"{ROWS} rows, JSON")
    return Pair("binary by JSON, 256 rows a request", ours, base, titles, BINARY_CONNECTIONS, BINARY_GOAL)


def add_wide(loop: Loop) -> None:
    """Train a wide model, and deploy it twice: as it comes, and by a project file with `max_batch_rows: 1`.

    Raises NotMeasured where no such key is known.
    """
    if "max_batch_rows" not in ServeConfig.model_fields:
        raise NotMeasured("the project file has no serve.max_batch_rows here")
    data = loop.home / "data.parquet"
    loop.add_version(WIDE, project_file(WIDE, data, hidden=HIDDEN))
    alone = parse_project(project_file(WIDE, data, hidden=HIDDEN, serve="replicas: 1, cpus: 0.5, max_batch_rows: 1"))
    workspace = Workspace(loop.settings)
    artifact = workspace.registry.version(WIDE, 1).artifact  # the very same: a second training would only take time
    deploy_version(workspace, Deployment(WIDE, 2, artifact, serve_options(alone)))
    workspace.close()


def batching(loop: Loop) -> Pair:
    """The two versions that `add_wide` made, pinned. Raises NotMeasured."""
    ours, base = (loop.target(bodies.v2(), version, WIDE) for version in (1, 2))
    if bodies.differ(bodies.probabilities(ask(ours)), bodies.probabilities(ask(base))):
        raise NotMeasured("the two versions of one artifact give other numbers")
    titles = ("4 x 1024, micro-batching", "4 x 1024, max_batch_rows: 1")
    return Pair("micro-batching by none, one row a request", ours, base, titles, BATCHING_CONNECTIONS, BATCHING_GOAL)
