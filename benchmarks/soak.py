"""Holds rayloop at half of its load for half an hour and looks whether any process grows, and anything is lost.

Usage: python benchmarks/soak.py [--minutes N] [--json FILE] [--markdown FILE]

Two versions, a split of 90 to 10, capture and tokens on. Half load is half of the rate that a probe of ten seconds
reached; requests are due at that steady rate. A process is judged by its resident memory: the median of the last
fifteenth of the run (2 of 30 minutes) beside the median of a fifteenth after its first sixth (minutes 5 to 7).
"""

from __future__ import annotations

import subprocess
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import bodies
import claims
import click
import load
import memory
import report
from claims import Claim
from client import Client, Outcome
from connection import run
from effect import percentile
from memory import Growth, Watch
from project import CommandFailed, Loop, served

CONNECTIONS = 32
PROBE_S = 10
WARM_UP_S = 3
PACE_GOAL = 0.99
NUM_SLICES = 10
NUM_SAMPLES = 90  # at least, so that a short run has some in each window
HEADER = ("minutes", "requests/s", "p50 ms", "p99 ms", "slowest ms", "failed")


@dataclass
class Slices:
    """The answers, in equal parts of the run; latencies alone are kept."""

    began_s: float
    lasts_s: float
    latencies_ms: list[array[float]] = field(default_factory=lambda: [array("f") for _ in range(NUM_SLICES)])
    failed: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(NUM_SLICES)])

    def see(self, outcome: Outcome) -> None:
        """Count a request by when it was due."""
        place = min(NUM_SLICES - 1, int((outcome.due_s - self.began_s) / self.lasts_s * NUM_SLICES))
        if outcome.is_good:
            self.latencies_ms[place].append(outcome.latency_ms)
        else:
            self.failed[place][outcome.error or f"status {outcome.status}"] += 1

    @property
    def answered(self) -> int:
        """Answers of status 200."""
        return sum(len(latencies) for latencies in self.latencies_ms)

    @property
    def reasons(self) -> Counter[str]:
        """Why requests failed."""
        return sum(self.failed, Counter())

    def cells(self) -> list[tuple[str, ...]]:
        """A line for each part, under HEADER."""
        part_s = self.lasts_s / NUM_SLICES
        found = []
        for place, (latencies, failed) in enumerate(zip(self.latencies_ms, self.failed, strict=True)):
            times = (percentile(latencies, 50), percentile(latencies, 99), max(latencies, default=float("nan")))
            span = f"{place * part_s / 60:.1f} to {(place + 1) * part_s / 60:.1f}"
            rate = f"{len(latencies) / part_s:,.0f}"
            found.append((span, rate, *(f"{value:.2f}" for value in times), str(sum(failed.values()))))
        return found


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a run found."""

    rate: float
    wall_s: float
    slices: Slices
    growths: list[Growth]
    captured: int
    period_s: float


def soak(loop: Loop, minutes: float, say: report.Say) -> Soaked:
    """Probe, then hold half of what the probe reached."""
    target = loop.target(bodies.v2())
    load.measure(target, CONNECTIONS, WARM_UP_S)
    probed = load.measure(target, CONNECTIONS, PROBE_S)
    rate = probed.rate / 2
    say(f"the probe reached {probed.rate:,.0f} requests/s; {rate:,.0f} for {minutes:g} minutes")
    before = sum(loop.captured().values())
    lasts_s = minutes * 60
    period_s = min(10.0, lasts_s / NUM_SAMPLES)
    began_s = time.monotonic()
    slices = Slices(began_s, lasts_s)
    with Watch(loop.owner, period_s) as watch:
        run(Client(target, rate, CONNECTIONS, slices.see, sends_again=False).run(round(rate * lasts_s)))
        wall_s = time.monotonic() - began_s
    say("counting what was captured")
    captured = sum(loop.captured().values()) - before
    return Soaked(rate, wall_s, slices, memory.growths(watch.samples, wall_s), captured, period_s)


def claims_of(found: Soaked) -> list[Claim]:
    """Whether nothing grew, failed or was left out."""
    judged = [growth for growth in found.growths if growth.lived_through]
    grew = sum(not growth.is_flat for growth in judged)
    most = max((growth.percent for growth in judged if not growth.is_small), default=float("nan"))
    answered, failed = found.slices.answered, sum(found.slices.reasons.values())
    return [
        claims.at_most("processes whose memory grew beyond the bound", grew, 0, f"of {len(judged)}"),
        claims.at_most(
            "largest growth of a process of 30 MiB or more", round(most, 2), memory.MOST_GROWTH_PERCENT, "%"
        ),
        claims.at_most("requests failed", failed, 0, f"of {answered + failed:,}"),
        Claim("answers captured", found.captured, answered, "rows", found.captured == answered),
        claims.at_least(
            "requests/s held", round(answered / found.wall_s, 1), round(PACE_GOAL * found.rate, 1), "requests/s"
        ),
    ]


def notes_of(found: Soaked) -> list[str]:
    """What a reader must know beside the figures."""
    first, last = (
        f"{since * found.wall_s / 60:.3g} to {until * found.wall_s / 60:.3g}"
        for since, until in (memory.FIRST, memory.LAST)
    )
    return [
        f"{report.hardware()}; probe by {load.generator()}.",
        f"{found.slices.answered:,} answers in {found.wall_s / 60:.1f} minutes, due at {found.rate:,.0f} a second over "
        f"{CONNECTIONS} connections; two versions at 90 to 10, tokens and capture on.",
        f"Memory each {found.period_s:.2g} s: the medians of minutes {first} and {last}. The bound is "
        f"{memory.MOST_GROWTH_PERCENT:g} % of the resident memory (RSS); below {memory.SMALL_BYTES // memory.MIB} MiB "
        f"it is {memory.SMALL_SLACK_BYTES // memory.MIB} MiB (small). RSS counts shared pages; USS and PSS are shown "
        "beside it. Processes that came or ended meanwhile are not judged.",
        *(f"Failed: {count} x {reason}." for reason, count in found.slices.reasons.items()),
    ]


@click.command()
@click.option("--minutes", default=30.0, show_default=True, type=click.FloatRange(min=0.5))
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the tables there")
def main(minutes: float, json_file: Path | None, markdown: Path | None) -> None:
    """Hold rayloop at half load and watch its memory."""
    report.leave_on_sigterm()
    console = report.terminal()
    say = report.teller(console)
    say("bringing rayloop up, with two trained versions")
    try:
        with served() as loop:
            found = soak(loop, minutes, say)
    except (CommandFailed, subprocess.SubprocessError) as error:
        raise click.ClickException(str(error)) from None
    tables = [(HEADER, found.slices.cells()), (memory.HEADER, [growth.cells() for growth in found.growths])]
    report.publish(console, tables, claims_of(found), notes_of(found), markdown, json_file)


if __name__ == "__main__":
    main()
