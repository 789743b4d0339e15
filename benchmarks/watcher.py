"""A client in a process of its own that asks without a pause and writes down when the answering version changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event

from connection import BROKEN, Connection, run
from target import Target

CONNECTIONS = 2


@dataclass(slots=True)
class Seen:
    """What it saw; times are of the monotonic clock, which all processes of a machine share."""

    answers: list[tuple[float, float, str]] = field(default_factory=list)
    """When each answer's request was sent, when it came, and its version."""
    failed: int = 0


def watch(target: Target, is_over: Event, pipe: Pipe) -> None:
    """Ask until it is over, then send what was seen."""
    seen = Seen()
    run(_watch(target, is_over, seen, pipe))
    pipe.send(seen)


async def _watch(target: Target, is_over: Event, seen: Seen, pipe: Pipe) -> None:
    first = Connection(target)
    await first.ask()
    pipe.send("ready")
    first.close()
    await asyncio.gather(*(_ask(target, is_over, seen) for _ in range(CONNECTIONS)))


async def _ask(target: Target, is_over: Event, seen: Seen) -> None:
    connection = Connection(target)
    while not is_over.is_set():
        sent_s = time.monotonic()
        try:
            answer = await connection.ask()
        except BROKEN:
            seen.failed += 1
            continue
        if answer.status == 200:
            seen.answers.append((sent_s, time.monotonic(), answer.version))
        else:
            seen.failed += 1
    connection.close()
