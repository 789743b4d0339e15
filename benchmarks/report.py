"""Turns what was measured into a table, Markdown and claims; it measures nothing."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from load import Measured
from rich.table import Table
from servers import Server

US = "rayloop"
HEADER = ("server", "requests/s", "ratio", "p50 ms", "p99 ms", "CPU us", "alone p50 ms", "ratio", "failed")
# The least that rayloop must be, in the peer's requests/s at 32 connections; and the most of its p50 at 1 connection.
RATE_GOALS = {"uvicorn": 0.7, "ray-default": 8.0, "mlserver": 1.5, "bentoml": 2.5, "serve-edge": 0.9}
P50_GOALS = {"uvicorn": 3.0, "ray-default": 0.6, "mlserver": 1.2, "bentoml": 0.9}


@dataclass
class Results:
    """Rounds of each server in each case; what could not be measured, with the reason."""

    rounds: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    processor_us: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """Processor time of all of a server's processes for each answer."""
    warm_up: dict[str, int] = field(default_factory=dict)
    """Good answers before the first round."""

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
        return statistics.median(getattr(us, what) / getattr(them, what) for us, them in pairs)

    def failed(self, server: str) -> int:
        """Answers other than a 200, and broken connections."""
        return sum(one.failed for (name, _), found in self.rounds.items() if name == server for one in found)

    def answered(self, server: str) -> int:
        """Good answers, those of the warm-up too."""
        return self.warm_up.get(server, 0) + sum(
            one.answered for (name, _), found in self.rounds.items() if name == server for one in found
        )


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


def table(cells: Sequence[Sequence[str]]) -> Table:
    """The table for a terminal."""
    shown = Table(box=None)
    for place, name in enumerate(HEADER):
        shown.add_column(name, justify="right" if place else "left")
    for line in cells:
        shown.add_row(*line)
    return shown


def markdown(cells: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """The same for the docs."""
    rows = [HEADER, ("---", *("---:",) * (len(HEADER) - 1)), *cells]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return body + "\n\n" + "\n".join(f"- {note}" for note in notes) + "\n"


def claims(results: Results, servers: Sequence[Server], many: int) -> list[dict[str, Any]]:
    """What is held to be true of rayloop, with the figure and whether it holds."""
    found = []
    for server in servers:
        for goals, connections, what, words in (
            (RATE_GOALS, many, "rate", f"requests/s of rayloop by {server.name}, {many} connections"),
            (P50_GOALS, 1, "p50_ms", f"p50 of rayloop by {server.name}, 1 connection"),
        ):
            value, goal = results.ratio(server.name, connections, what), goals.get(server.name)
            if value is not None and goal is not None:
                holds = value >= goal if what == "rate" else value <= goal
                found.append(claim(words, round(value, 3), goal, "times", holds))
    failed = results.failed(US)
    return [*found, claim("requests that rayloop failed", failed, 0, "requests", failed == 0)]


def claim(name: str, value: float, goal: float, unit: str, holds: bool) -> dict[str, Any]:
    """One entry of the JSON file."""
    return {"name": name, "value": value, "goal": goal, "unit": unit, "holds": bool(holds)}


def hardware() -> str:
    """The machine and the day in a line."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")), "unknown CPU")
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} logical CPUs ({model}), {memory_gib:.0f} GiB; {datetime.now(UTC):%Y-%m-%d}"


def software(versions: Mapping[str, str]) -> str:
    """The versions in a line."""
    return "; ".join(dict.fromkeys(versions.values()))


def _text(value: float | None, style: str) -> str:
    return "" if value is None or math.isnan(value) else f"{value:{style}}"
