"""Turns what was measured into a table, Markdown and claims; it measures nothing."""

from __future__ import annotations

import math
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import claims
import psutil
from claims import Claim
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # most benchmarks start no server, and some run where nothing of one is installed
    from load import Measured
    from servers import Server

US = "rayloop"
Say = Callable[[str], None]
WIDTH = 140  # of what is printed into a file
HEADER = ("server", "requests/s", "ratio", "p50 ms", "p99 ms", "CPU us", "alone p50 ms", "ratio", "failed")
# The least that rayloop must be, in the peer's requests/s at 32 connections; and the most of its p50 at 1 connection.
RATE_GOALS = {"uvicorn": 1.2, "ray-default": 20.0, "mlserver": 3.0, "bentoml": 6.0, "serve-edge": 0.9}
P50_GOALS = {"uvicorn": 1.5}


@dataclass
class Results:
    """Rounds of each server in each case; what could not be measured, with the reason."""

    rounds: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    processor_us: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """Processor time of all of a server's processes for each answer."""
    warm_up: dict[str, Measured] = field(default_factory=dict)
    """The load before the first round, in which each status was looked at."""

    def add(self, server: str, connections: int, measured: Measured, processor_s: float) -> None:
        """Keep a round, and the processor time that the server used in it."""
        self.rounds.setdefault((server, connections), []).append(measured)
        used_us = processor_s * 1e6 / max(1, measured.answered)
        self.processor_us.setdefault((server, connections), []).append(used_us)

    def median(self, server: str, connections: int, what: str) -> float | None:
        """The median over the rounds of `rate`, `p50_ms` or `p99_ms`; None where there are none."""
        found = self.rounds.get((server, connections))
        return statistics.median(getattr(round_, what) for round_ in found) if found else None

    def ratio(self, server: str, connections: int, what: str) -> float | None:
        """rayloop's figure by a peer's: the median over the rounds, each held against its own round."""
        ours, theirs = (self.rounds.get((name, connections)) for name in (US, server))
        if not ours or not theirs:
            return None
        pairs = zip(ours, theirs, strict=True)
        return float(statistics.median(getattr(us, what) / getattr(them, what) for us, them in pairs))

    def failed(self, server: str) -> int:
        """Answers other than a 200, and broken connections, in the warm-up too."""
        return sum(one.failed for one in self._all(server))

    def answered(self, server: str) -> int:
        """Good answers, those of the warm-up too."""
        return sum(one.answered for one in self._all(server))

    def _all(self, server: str) -> list[Measured]:
        timed = [one for (name, _), found in self.rounds.items() if name == server for one in found]
        return [*timed, *([self.warm_up[server]] if server in self.warm_up else [])]


def lines(results: Results, servers: Sequence[Server], many: int) -> list[tuple[str, ...]]:
    """The cells of the table, under HEADER."""
    found = []
    for server in servers:
        if server.name in results.skipped:
            found.append((server.title, "skipped", *("",) * (len(HEADER) - 2)))
            continue
        rate, p50, p99 = (results.median(server.name, many, what) for what in ("rate", "p50_ms", "p99_ms"))
        alone = results.median(server.name, 1, "p50_ms")
        used_us = results.processor_us.get((server.name, many))
        found.append(
            (
                server.title,
                _text(rate, ",.0f"),
                _text(results.ratio(server.name, many, "rate"), ".2f"),
                _text(p50, ".2f"),
                _text(p99, ".2f"),
                _text(statistics.median(used_us) if used_us else None, ".0f"),
                _text(alone, ".2f"),
                _text(results.ratio(server.name, 1, "p50_ms"), ".2f"),
                str(results.failed(server.name)),
            )
        )
    return found


def table(cells: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Table:
    """The table for a terminal."""
    shown = Table(box=None)
    for place, name in enumerate(header):
        shown.add_column(name, justify="right" if place else "left")
    for line in cells:
        shown.add_row(*line)
    return shown


def markdown(cells: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    """The same for the docs."""
    rows = [header, ("---", *("---:",) * (len(header) - 1)), *cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def peer_claims(results: Results, servers: Sequence[Server], many: int) -> list[Claim]:
    """What is held to be true of rayloop beside each peer; a peer with a goal that did not run is not measured."""
    found = []
    for server in servers:
        for goals, connections, what, words, judge in (
            (RATE_GOALS, many, "rate", f"requests/s by {server.name}, {many} connections", claims.at_least),
            (P50_GOALS, 1, "p50_ms", f"p50 by {server.name}, 1 connection", claims.at_most),
        ):
            value, goal = results.ratio(server.name, connections, what), goals.get(server.name)
            is_wanted = value is not None or server.name in results.skipped
            if goal is not None and is_wanted:
                found.append(judge(words, None if value is None else round(value, 3), goal, "times"))
    theirs = sum(results.failed(server.name) for server in servers if server.name != US)
    return [
        *found,
        claims.at_most("answers of rayloop other than a 200", results.failed(US), 0, "answers"),
        claims.at_most("answers of the others other than a 200", theirs, 0, "answers"),
    ]


def publish(
    console: Console,
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]],
    found: Sequence[Claim],
    notes: Sequence[str],
    markdown_file: Path | None,
    json_file: Path | None,
) -> NoReturn:
    """Print and write all of a run, and end with 1 where a claim does not hold."""
    for header, cells in tables:
        console.print(table(cells, header))
    for note in notes:
        console.print(f"- {note}", highlight=False)
    claims.show(console, found)
    if markdown_file is not None:
        parts = [markdown(cells, header) for header, cells in tables]
        listed = "".join(f"- {note}\n" for note in notes)
        markdown_file.write_text("\n".join([*parts, claims.markdown(found), listed]))
    if json_file is not None:
        claims.write(json_file, found)
    sys.exit(0 if claims.all_hold(found) else 1)


def leave_on_sigterm() -> None:
    """Let SIGTERM end what was started, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _leave)


def terminal() -> Console:
    """The terminal, or a wide page where the output goes into a file."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def teller(console: Console) -> Say:
    """Prints what goes on, with the seconds since the start."""
    began_s = time.monotonic()
    return lambda text: console.print(f"{time.monotonic() - began_s:5.0f} s  {text}", style="dim", highlight=False)


def hardware() -> str:
    """The machine and the day in a line."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")), "unknown CPU")
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} logical CPUs ({model}), {memory_gib:.0f} GiB; {datetime.now(UTC):%Y-%m-%d}"


def software(versions: Mapping[str, str]) -> str:
    """The versions in a line."""
    return "; ".join(dict.fromkeys(versions.values()))


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _text(value: float | None, style: str) -> str:
    return "" if value is None or math.isnan(value) else f"{value:{style}}"
