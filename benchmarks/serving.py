"""Measures rayloop's serving against its peers on one machine, in one run, with the same weights and the same row.

Usage: python benchmarks/serving.py [--quick] [--layers] [--only NAME]... [--rounds N] [--json FILE] [--markdown FILE]

All servers stay up and are loaded one at a time, in turns (A B C A B C), so that what else the machine does meets
each of them alike. Ratios are taken round by round.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
import load
import report
from environments import NotInstalled
from load import Target
from processes import NotStarted, Processes, ask, processor_s
from project import PERCENT, CommandFailed, Loop, served
from rayloop.platform.errors import RayloopError
from rich.console import Console
from servers import LAYERS, SERVERS, Floor, Server, probabilities, v2_body

MANY = 32
TOLERANCE = 1e-4
CASES = {"many": MANY, "one": 1}
NAMES = [*dict.fromkeys(server.name for server in (*SERVERS, *LAYERS)), *CASES]
CAPTURE_GOAL = 0.99


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how long."""

    servers: Sequence[Server]
    connections: Sequence[int]
    rounds: int
    seconds: float
    warm_up_s: float


def plan_of(only: Sequence[str], layers: bool, quick: bool, rounds: int | None) -> Plan:
    """The servers and cases that were asked for; rayloop is always one of them, since ratios are to it."""
    known = LAYERS if layers else SERVERS
    chosen = [server for server in known if server.name in {*only, "rayloop"}]
    if len(chosen) == 1 and "rayloop" not in only:
        chosen = list(known)
    if any(server.name == "serve-edge" for server in chosen):  # it stands before that one
        chosen = [server for server in known if server in chosen or server.name == "serve-throughput"]
    cases = [connections for name, connections in CASES.items() if name in only] or list(CASES.values())
    return Plan(chosen, cases, rounds or (2 if quick else 5), 2 if quick else 8, 1 if quick else 4)


def start_all(plan: Plan, floor: Floor, results: report.Results, console: Console) -> dict[str, Target]:
    """Start the servers one after the other, and hold each one's answer against rayloop's."""
    wanted = probabilities(ask(floor.loop.target(v2_body(), version=1)))
    targets: dict[str, Target] = {}
    for server in plan.servers:
        console.print(f"starting {server.name}", style="dim")
        try:
            target = server.start(floor, server.name)
            answer = floor.processes.wait(server.name, target)
        except (NotInstalled, NotStarted, RayloopError) as error:
            floor.processes.end(server.name)
            console.print(f"{server.name} is skipped: {error}")
            results.skipped[server.name] = str(error)
            continue
        found = probabilities(answer)
        if max(abs(ours - theirs) for ours, theirs in zip(wanted, found, strict=True)) > TOLERANCE:
            results.skipped[server.name] = f"it answers {found} where rayloop answers {wanted}"
            continue
        targets[server.name] = target
    return targets


def measure_all(
    plan: Plan, targets: dict[str, Target], floor: Floor, results: report.Results, console: Console
) -> None:
    """Warm every server up, then load them in turns; rayloop is asked by its split, with capture on."""
    for name, target in targets.items():
        results.warm_up[name] = load.measure(target, MANY, plan.warm_up_s).answered
    for number in range(plan.rounds):
        for connections in plan.connections:
            for name, target in targets.items():
                owner = floor.loop.owner if name == report.US else floor.processes.owner(name)
                before_s = processor_s(owner)
                measured = load.measure(target, connections, plan.seconds)
                results.add(name, connections, measured, processor_s(owner) - before_s)
                console.print(
                    f"round {number + 1}, {connections:2} connections, {name:16} {measured.rate:8,.0f} requests/s, "
                    f"p50 {measured.p50_ms:.2f} ms, p99 {measured.p99_ms:.2f} ms",
                    style="dim",
                )


def loop_claims(loop: Loop, answered: int) -> list[dict[str, Any]]:
    """Whether the split was kept and the answers were captured, read from the capture itself."""
    time.sleep(2)  # the last file is written half a second after its first row
    captured = loop.captured()
    rows = sum(captured.values())
    share = 100 * captured[2] / max(1, rows)
    return [
        report.claim("share of version 2", round(share, 2), PERCENT[2], "%", abs(share - PERCENT[2]) < 1),
        # wrk drops what is on its way at the end: a few more are captured than it counted.
        report.claim("answers captured", rows, answered, "rows", rows >= CAPTURE_GOAL * answered),
    ]


def notes_of(results: report.Results, floor: Floor, plan: Plan) -> list[str]:
    """What a reader must know beside the figures."""
    notes = [
        f"{report.hardware()}.",
        f"{report.software(floor.versions)}; load by {load.generator()}.",
        f"One row of 30 numbers as JSON to a 30-64-2 perceptron, the same float32 weights everywhere; medians of "
        f"{plan.rounds} rounds of {plan.seconds:g} s in turns.",
        f"{MANY} connections, and one (alone). A ratio is rayloop's figure divided by the server's, round by round. "
        "CPU us is the processor time of all of a server's processes for each answer.",
        "rayloop, uvicorn and Ray Serve compute with torch; MLServer and BentoML with NumPy, which is the faster of "
        "the two for one row.",
    ]
    return [*notes, *(f"{name} was skipped: {reason}" for name, reason in results.skipped.items())]


def run(plan: Plan, console: Console) -> tuple[report.Results, list[str], list[dict[str, Any]]]:
    """Bring all up, measure, and end all."""
    results = report.Results()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serving-")))
        console.print("bringing rayloop up, with two trained versions", style="dim")
        loop = stack.enter_context(served())
        ends = stack.enter_context(ExitStack())
        floor = Floor(loop, stack.enter_context(Processes(folder)), folder, ends)
        targets = start_all(plan, floor, results, console)
        measure_all(plan, targets, floor, results, console)
        claims = report.claims(results, plan.servers, MANY)
        claims += loop_claims(loop, results.answered(report.US))
        return results, notes_of(results, floor, plan), claims


@click.command()
@click.option("--quick", is_flag=True, help="two short rounds, under three minutes")
@click.option("--layers", is_flag=True, help="what each layer before the model costs, instead of the peers")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="a server or a case; may be given again")
@click.option("--rounds", type=click.IntRange(min=1), help="rounds over all servers  [5, or 2 with --quick]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the table there")
def main(
    quick: bool,
    layers: bool,
    only: Sequence[str],
    rounds: int | None,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Measure rayloop's serving against its peers."""
    signal.signal(signal.SIGTERM, _leave)
    console = Console()
    plan = plan_of(only, layers, quick, rounds)
    try:
        results, notes, claims = run(plan, console)
    except (CommandFailed, subprocess.SubprocessError) as error:
        raise click.ClickException(str(error)) from None
    cells = report.lines(results, plan.servers, MANY)
    console.print(report.table(cells))
    for note in notes:
        console.print(f"- {note}", highlight=False)
    for claim in claims:
        word = "holds" if claim["holds"] else "does not hold"
        console.print(f"{claim['name']}: {claim['value']} (goal {claim['goal']} {claim['unit']}), {word}")
    if markdown is not None:
        markdown.write_text(report.markdown(cells, notes))
    if json_file is not None:
        json_file.write_text(json.dumps({"claims": claims}, indent=1))
    sys.exit(0 if all(claim["holds"] for claim in claims) else 1)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
