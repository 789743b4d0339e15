"""Sends one request at a steady rate over kept connections, whatever becomes of the answers, and tells of each.

A request is due at its moment and not before; where all connections are busy then, it waits, and its latency
counts from when it was due: a server that stands still for a second has delayed all who came in that second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from connection import BROKEN, Connection
from target import Target

GIVE_UP_S = 30.0
AGAIN_S = 0.02


class Outcome(NamedTuple):
    """What became of one request; times are of the monotonic clock."""

    due_s: float
    sent_s: float
    got_s: float
    status: int
    """0 where there was no whole answer."""
    version: str
    sent_again: int
    """How many times, each after a connection that was refused or broke."""
    error: str

    @property
    def is_good(self) -> bool:
        """Answered with a 200."""
        return self.status == 200

    @property
    def latency_ms(self) -> float:
        """From when it was due until its answer was whole."""
        return (self.got_s - self.due_s) * 1e3


class Client:
    """So many connections that share one rate."""

    def __init__(
        self, target: Target, rate: float, connections: int, see: Callable[[Outcome], None], *, sends_again: bool
    ) -> None:
        """`see` is told of each request; `sends_again` asks anew where a connection was refused or broke."""
        self._target, self._rate, self._connections = target, rate, connections
        self._see, self._sends_again = see, sends_again
        self._taken = self._limit = 0

    async def run(self, requests: int) -> None:
        """Send so many."""
        self._taken, self._limit = 0, requests
        began_s = time.monotonic()
        await asyncio.gather(*(self._work(began_s) for _ in range(self._connections)))

    async def _work(self, began_s: float) -> None:
        connection = Connection(self._target)
        while self._taken < self._limit:
            due_s = began_s + self._taken / self._rate
            self._taken += 1
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                due_s = time.monotonic()  # the timer's own lateness is not the server's
            self._see(await self._send(connection, due_s))
        connection.close()

    async def _send(self, connection: Connection, due_s: float) -> Outcome:
        """Send one request until it is answered; nothing but a refused or broken connection sends it again."""
        sent_s = time.monotonic()
        sent_again = 0
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + GIVE_UP_S):
                    answer = await connection.ask()
                return Outcome(due_s, sent_s, time.monotonic(), answer.status, answer.version, sent_again, "")
            except TimeoutError:
                return Outcome(due_s, sent_s, time.monotonic(), 0, "", sent_again, f"no answer in {GIVE_UP_S:g} s")
            except BROKEN as error:
                got_s = time.monotonic()
                if not self._sends_again or got_s - sent_s > GIVE_UP_S:
                    return Outcome(due_s, sent_s, got_s, 0, "", sent_again, type(error).__name__)
                sent_again += 1
                await asyncio.sleep(AGAIN_S)
