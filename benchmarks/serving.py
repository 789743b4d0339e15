"""Measures rayloop's serving against its peers on one machine, in one run, with the same weights and the same row.

Usage: python benchmarks/serving.py [--quick] [--layers] [--only NAME]... [--rounds N] [--json FILE] [--markdown FILE]

All servers stay up and are loaded one at a time, in turns (A B C A B C), so that what else the machine does meets
each of them alike. Ratios are taken round by round. rayloop alone is asked then: binary beside JSON, micro-batching
beside none, and how soon a change of split is seen.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import bodies
import claims
import click
import effect
import load
import pairs
import report
from claims import Claim
from environments import NotInstalled
from pairs import NotMeasured, Pair
from processes import NotStarted, Processes, ask, processor_s
from project import NAME, PERCENT, CommandFailed, Loop, served
from rayloop.platform.errors import RayloopError
from servers import LAYERS, SERVERS, Floor, Server
from target import Target

MANY = 32
CASES = {"many": MANY, "one": 1}
PAIRS: Mapping[str, tuple[Callable[[Loop], Pair], str, str, float]] = {
    "binary": (pairs.binary, "binary by JSON", NAME, pairs.BINARY_GOAL),
    "batching": (pairs.batching, "micro-batching by none", pairs.WIDE, pairs.BATCHING_GOAL),
}
OTHERS = (*PAIRS, "split")
NAMES = [*dict.fromkeys(server.name for server in (*SERVERS, *LAYERS)), *CASES, *OTHERS]
CAPTURE_GOAL = 0.99
SHARE_SLACK = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how long."""

    servers: Sequence[Server]
    connections: Sequence[int]
    others: Sequence[str]
    rounds: int
    seconds: float
    alone_s: float
    warm_up_s: float


@dataclass
class Findings:
    """All that a run found: the peers' rounds, further tables, claims, and what a reader must know."""

    results: report.Results = field(default_factory=report.Results)
    tables: list[tuple[Sequence[str], list[tuple[str, ...]]]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_of(only: Sequence[str], layers: bool, quick: bool, rounds: int | None) -> Plan:
    """What was asked for, or all of it; rayloop is always one of the servers, since ratios are to it."""
    known = LAYERS if layers else SERVERS
    servers = {server.name for server in known} & set(only)
    cases = [connections for name, connections in CASES.items() if name in only]
    others = [name for name in OTHERS if (name in only or not only) and not layers]
    if not servers and (cases or not others or not only):
        servers = {server.name for server in known}
    if "serve-edge" in servers:  # it stands before that one
        servers.add("serve-throughput")
    chosen = [server for server in known if server.name in {*servers, report.US}] if servers else []
    times = (2, 1, 1) if quick else (8, 8, 4)  # seconds of a round with many, with one, of the warm-up
    return Plan(chosen, cases or list(CASES.values()), others, rounds or (2 if quick else 5), *times)


def start_all(plan: Plan, floor: Floor, results: report.Results, say: report.Say) -> dict[str, Target]:
    """Start the servers one after the other, and hold each one's answer against rayloop's."""
    wanted = bodies.probabilities(ask(floor.loop.target(bodies.v2(), version=1)))
    targets: dict[str, Target] = {}
    for server in plan.servers:
        say(f"starting {server.name}")
        try:
            target = server.start(floor, server.name)
            answer = floor.processes.wait(server.name, target)
        except (NotInstalled, NotStarted, RayloopError) as error:
            floor.processes.end(server.name)
            say(f"{server.name} is skipped: {error}")
            results.skipped[server.name] = str(error)
            continue
        found = bodies.probabilities(answer)
        # The split may give rayloop's answer to version 2, which is trained from the same seed.
        if bodies.differ(wanted, found):
            results.skipped[server.name] = f"it answers {found} where rayloop answers {wanted}"
            continue
        targets[server.name] = target
    return targets


def measure_all(plan: Plan, targets: dict[str, Target], floor: Floor, results: report.Results, say: report.Say) -> None:
    """Warm every server up, then load them in turns; rayloop is asked by its split, with capture and tokens on."""
    for name, target in targets.items():
        results.warm_up[name] = load.measure(target, MANY, plan.warm_up_s, each_status=True)
    for number in range(plan.rounds):
        for connections in plan.connections:
            for name, target in targets.items():
                owner = floor.loop.owner if name == report.US else floor.processes.owner(name)
                before_s = processor_s(owner)
                measured = load.measure(target, connections, plan.seconds if connections > 1 else plan.alone_s)
                results.add(name, connections, measured, processor_s(owner) - before_s)
                say(
                    f"round {number + 1}, {connections:2} connections, {name:16} {measured.rate:8,.0f} requests/s, "
                    f"p50 {measured.p50_ms:.2f} ms, p99 {measured.p99_ms:.2f} ms"
                )


def loop_claims(loop: Loop, answered: int) -> list[Claim]:
    """Whether the split was kept and the answers were captured, read from the capture itself."""
    captured = loop.captured()
    rows = sum(captured.values())
    share = 100 * captured[2] / max(1, rows)
    is_kept = abs(share - PERCENT[2]) < SHARE_SLACK
    return [
        Claim("share of version 2", round(share, 2), PERCENT[2], f"% (± {SHARE_SLACK:g})", is_kept),
        # wrk drops what is on its way at the end: a few more are captured than it counted.
        claims.at_least("answers of status 200 captured", rows, round(CAPTURE_GOAL * answered), "rows"),
    ]


def beside_peers(plan: Plan, loop: Loop, wide: Future[None] | None, found: Findings, say: report.Say) -> None:
    """rayloop and its peers, or the layers; the peers are ended before anything else is measured."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serving-")))
        ends = stack.enter_context(ExitStack())
        floor = Floor(loop, stack.enter_context(Processes(folder)), folder, ends)
        targets = start_all(plan, floor, found.results, say)
        if wide is not None:
            wait([wide])  # nothing else is at work while servers are measured
        measure_all(plan, targets, floor, found.results, say)
        found.claims += report.peer_claims(found.results, plan.servers, MANY)
        found.claims += loop_claims(loop, found.results.answered(report.US))
        found.tables.append((report.HEADER, report.lines(found.results, plan.servers, MANY)))
        found.notes += [
            f"{report.software(floor.versions)}.",
            f"One row of {bodies.FEATURES} numbers as JSON to a 30-64-2 perceptron, the same float32 weights "
            f"everywhere; medians of {plan.rounds} rounds of {plan.seconds:g} s in turns ({plan.alone_s:g} s alone). "
            "rayloop has tokens, a split of 90 to 10 and capture on; the others have nothing of the kind.",
            f"{MANY} connections, and one (alone). A ratio is rayloop's figure divided by the server's, round by "
            "round. CPU us is the processor time of all of a server's processes for each answer.",
            "rayloop, uvicorn and Ray Serve compute with torch; MLServer and BentoML with NumPy, which is the faster "
            "of the two for one row.",
            *(f"{name} was skipped: {reason}" for name, reason in found.results.skipped.items()),
        ]


def a_pair(
    case: str, plan: Plan, loop: Loop, wide: Future[None] | None, found: Findings, say: report.Say
) -> list[tuple[str, ...]]:
    """Two ways to ask, in turns; returns the lines of the table, none where they could not be measured."""
    make, name, endpoint, goal = PAIRS[case]
    say(f"measuring {name}")
    try:
        if case == "batching" and wide is not None:
            wide.result()
        before = sum(loop.captured_now(endpoint).values())
        compared = pairs.compare(make(loop), plan.rounds, plan.seconds, plan.warm_up_s, say)
    except (NotMeasured, CommandFailed, RayloopError) as error:
        found.claims.append(claims.at_least(f"rows/s {name}", None, goal, "times"))
        found.notes.append(f"{name} was not measured: {error}")
        return []
    found.claims += compared.claims()
    share = (sum(loop.captured(endpoint).values()) - before) / max(1, compared.answered_rows)
    found.notes.append(
        f"{name}: {min(share, 1):.1%} of the rows of both were captured; capture drops what its queue can't hold."
    )
    return compared.cells()


def alone(plan: Plan, loop: Loop, wide: Future[None] | None, found: Findings, say: report.Say) -> None:
    """What only rayloop is asked."""
    cells = [line for case in PAIRS if case in plan.others for line in a_pair(case, plan, loop, wide, found, say)]
    if cells:
        found.tables.append((pairs.HEADER, cells))
    if "split" in plan.others:
        say(f"changing the split {effect.CHANGES} times")
        effects = effect.measure(loop)
        found.tables.append((effect.HEADER, effects.cells()))
        found.claims += effects.claims()
        found.notes.append(effect.describe())


def run(plan: Plan, say: report.Say) -> Findings:
    """Bring all up, measure, and end all."""
    found = Findings(notes=[f"{report.hardware()}; load by {load.generator()}."])
    say("bringing rayloop up, with two trained versions")
    with served() as loop, ThreadPoolExecutor(1) as beside:
        # Training for what comes last goes on while the peers start.
        wide = beside.submit(pairs.add_wide, loop) if "batching" in plan.others else None
        if plan.servers:
            beside_peers(plan, loop, wide, found, say)
        alone(plan, loop, wide, found, say)
    return found


@click.command()
@click.option("--quick", is_flag=True, help="two short rounds, under three minutes once all is installed")
@click.option("--layers", is_flag=True, help="what each layer before the model costs, instead of the peers")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="a server or a case; may be given again")
@click.option("--rounds", type=click.IntRange(min=1), help="rounds over all servers  [5, or 2 with --quick]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the tables there")
def main(
    quick: bool,
    layers: bool,
    only: Sequence[str],
    rounds: int | None,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Measure rayloop's serving against its peers."""
    report.leave_on_sigterm()
    console = report.terminal()
    try:
        found = run(plan_of(only, layers, quick, rounds), report.teller(console))
    except (CommandFailed, subprocess.SubprocessError) as error:
        raise click.ClickException(str(error)) from None
    report.publish(console, found.tables, found.claims, found.notes, markdown, json_file)


if __name__ == "__main__":
    main()
