"""Counts lost requests while replicas, the edge and Serve's HAProxy are killed, reloaded and moved under load.

Usage: python benchmarks/faults.py [--quick] [--requests N] [--rate N] [--connections N] [--json FILE] [--markdown FILE]

Requests are due at a steady rate, so that a run lasts as long as its faults need. The client does what every HTTP
client with retries does, and no more: a request whose connection is refused or breaks is sent again on a new
connection, and counted. A request fails where it gets any other answer than a 200, or none within 30 s. Every answer
must name a version that the split allowed at some moment between sending and receiving.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bodies
import by_fault
import claims
import click
import report
from allowed import Allowed
from breaking import EDGE, LAST, PROMOTED, REPLICA, SCALED, SPLIT, Breaker
from by_fault import Fault
from claims import Claim
from client import Client, Outcome
from connection import run
from project import CommandFailed, Loop, served
from rayloop.platform.workspace import Workspace

KILL_PERIOD_S = 5.0
QUIET_S = 4.0
NUM_SPLITS = 50
ALONE_S = 20.0
ALONE_AT_S = 4.0
ALONE_RATE = 0.2
LATENESS_S = 5.0
BEHIND_S = 1.0  # at the end; a rate that is kept is behind by the last answer alone

Act = Callable[[], None]


@dataclass
class Found:
    """What became of the requests of both parts."""

    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    planned: Counter[str] = field(default_factory=Counter)
    alone: list[Outcome] = field(default_factory=list)
    alone_faults: list[Fault] = field(default_factory=list)
    strays: int = 0
    wall_s: float = 0.0
    reloads: int = 0


def plan_of(breaker: Breaker, lasts_s: float) -> list[tuple[float, str, Act]]:
    """When each fault is due: a replica each 5 s, the others at shares of the whole run."""
    span_s = lasts_s - QUIET_S
    plan: list[tuple[float, str, Act]] = [
        (QUIET_S + 0.70 * span_s * place / NUM_SPLITS, SPLIT, breaker.change_split) for place in range(NUM_SPLITS)
    ]
    kills = int((lasts_s - 0.5) // KILL_PERIOD_S)
    plan += [(KILL_PERIOD_S * place, REPLICA, breaker.kill_replica) for place in range(1, kills + 1)]
    for share, replicas in ((0.10, 3), (0.40, 2)):
        plan.append((QUIET_S + share * span_s, SCALED, lambda number=replicas: breaker.scale(number)))  # type: ignore[misc]
    plan += [(QUIET_S + share * span_s, EDGE, breaker.kill_edge) for share in (0.30, 0.60)]
    plan.append((QUIET_S + 0.75 * span_s, PROMOTED, breaker.promote))
    return sorted(plan, key=lambda entry: entry[0])


async def storm(client: Client, requests: int, plan: Sequence[tuple[float, str, Act]]) -> None:
    """The load, and each fault at its time; one that takes long holds up none but its own kind.

    Changes of split and the promotion take turns with each other: what is deleted gets no traffic any more.
    """
    turns: dict[str, asyncio.Lock] = {kind: asyncio.Lock() for _, kind, _ in plan}
    if PROMOTED in turns:
        turns[PROMOTED] = turns[SPLIT]

    async def act(at_s: float, kind: str, fault: Act) -> None:
        await asyncio.sleep(at_s)
        async with turns[kind]:
            await asyncio.to_thread(fault)

    acting = [asyncio.create_task(act(*entry)) for entry in plan]
    await client.run(requests)
    _, late = await asyncio.wait(acting, timeout=LATENESS_S)
    for task in acting:
        if task in late:
            task.cancel()
        else:
            task.result()  # a fault that could not be done ends the run


def break_all(loop: Loop, requests: int, rate: float, connections: int, say: report.Say) -> Found:
    """Both parts: all faults over two replicas a version, then one kill of the only replica."""
    found, allowed, workspace = Found(), Allowed(), Workspace(loop.settings)
    breaker = Breaker(loop, workspace, allowed)
    target = loop.target(bodies.v2())
    allowed.change({"1", "2"}, lambda: None)  # as it was deployed
    plan = plan_of(breaker, requests / rate)
    found.planned = Counter(kind for _, kind, _ in plan)
    say(f"{requests:,} requests, {rate:g} a second, over {connections} connections, with {len(plan)} faults")
    began_s = time.monotonic()
    run(storm(Client(target, rate, connections, found.outcomes.append, sends_again=True), requests, plan))
    found.wall_s = time.monotonic() - began_s
    found.faults, found.reloads = list(breaker.done), breaker.reloads

    say("one replica of one version is left")
    breaker.leave_one(2)
    breaker.done.clear()
    slow = rate * ALONE_RATE
    client = Client(target, slow, connections, found.alone.append, sends_again=True)
    run(storm(client, int(slow * ALONE_S), [(ALONE_AT_S, LAST, lambda: breaker.kill_only_replica(2))]))
    found.alone_faults = list(breaker.done)
    found.strays = len(allowed.strays(found.outcomes)) + len(allowed.strays(found.alone))
    workspace.close()
    return found


def claims_of(found: Found) -> list[Claim]:
    """Whether nothing was lost, and all happened that was planned."""
    done = Counter(fault.kind for fault in found.faults)
    missing = sum((found.planned - done).values()) + (1 - len(found.alone_faults))
    failed, alone = (sum(not one.is_good for one in part) for part in (found.outcomes, found.alone))
    again = by_fault.away_from(EDGE, found.faults, found.outcomes)
    again += sum(one.sent_again > 0 for one in found.alone)
    return [
        claims.at_most("requests failed under faults", failed, 0, f"of {len(found.outcomes):,}"),
        claims.at_most("requests failed, one replica and one kill", alone, 0, f"of {len(found.alone):,}"),
        claims.at_most("answers of a version that the split did not allow", found.strays, 0, "answers"),
        claims.at_most("requests sent again by the client, the edge not being killed", again, 0, "requests"),
        claims.at_most("faults that were planned and did not happen", missing, 0, "faults"),
    ]


def notes_of(found: Found, rate: float, connections: int) -> list[str]:
    """What a reader must know beside the figures."""
    reasons = Counter(one.error or f"status {one.status}" for one in (*found.outcomes, *found.alone) if not one.is_good)
    versions = Counter(one.version for one in found.outcomes if one.is_good)
    behind_s = found.wall_s - len(found.outcomes) / rate
    behind = [
        f"The load fell {behind_s:.1f} s behind its rate, and the latencies hold that wait: ask for a lower --rate."
    ]
    return [
        f"{report.hardware()}.",
        *(behind if behind_s > BEHIND_S else []),
        f"{len(found.outcomes):,} requests in {found.wall_s:.1f} s, due at {rate:g} a second over {connections} "
        "connections; two versions, two replicas each, tokens and capture on. A latency counts from when the request "
        "was due.",
        "The kinds overlap in time, and a request near two of them stands in both lines. A scaling lasts until Serve "
        "runs that many replicas.",
        f"Serve's HAProxy was seen as a new process {found.reloads} times.",
        "Answers: " + ", ".join(f"v{name} {count:,}" for name, count in sorted(versions.items())) + ".",
        *(f"Failed: {count} x {reason}." for reason, count in reasons.items()),
    ]


@click.command()
@click.option("--requests", default=100_000, show_default=True, type=click.IntRange(min=1_000))
@click.option("--rate", default=1_500.0, show_default=True, help="requests a second")
@click.option("--connections", default=64, show_default=True)
@click.option("--quick", is_flag=True, help="60,000 requests: 40 s of load, under three minutes in all")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the table there")
def main(
    requests: int, rate: float, connections: int, quick: bool, json_file: Path | None, markdown: Path | None
) -> None:
    """Count lost requests under faults."""
    report.leave_on_sigterm()
    console = report.terminal()
    requests = min(requests, 60_000) if quick else requests
    say = report.teller(console)
    say("bringing rayloop up, with two trained versions of two replicas")
    try:
        with served({1: 50, 2: 50}, replicas=2) as loop:
            found = break_all(loop, requests, rate, connections, say)
    except (CommandFailed, subprocess.SubprocessError) as error:
        raise click.ClickException(str(error)) from None
    cells = by_fault.lines(found.faults, found.outcomes)
    cells.append(by_fault.after(LAST, found.alone_faults, found.alone).cells(LAST, len(found.alone_faults)))
    notes = notes_of(found, rate, connections)
    report.publish(console, [(by_fault.HEADER, cells)], claims_of(found), notes, markdown, json_file)


if __name__ == "__main__":
    main()
