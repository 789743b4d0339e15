"""Sends one request again and again over kept connections and tells how fast it was answered; starts no server.

`wrk` does it where it is installed, since it takes least processor time from the servers beside it; else a client
of our own over asyncio does, slower but in the same way: closed loop, fixed connections, fixed time.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from connection import BROKEN, Connection, run
from target import Target

# No `request` here: wrk 4.1 then formats the request once, at the start, and sends those bytes each time. A script
# with a `request` would be called for each of them. Of the answers wrk itself counts those above 399.
_SCRIPT = """\
function init(args)
  local file = io.open(args[1], "rb")
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
end
function done(summary, latency, requests)
  local e = summary.errors
  local refused = threads and threads[1]:get("others") or e.status
  io.write(string.format(
    '\\n{"answered":%d,"microseconds":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    refused, e.connect + e.read + e.write + e.timeout))
end
"""
# Looks at each status, which costs wrk a call for each answer: for the warm-up, not for what is timed.
_EACH_STATUS = """\
threads, others = {}, 0
function setup(thread) table.insert(threads, thread) end
function response(status) if status ~= 200 then others = others + 1 end end
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one stretch of load saw; `failed` counts answers other than a good one and connections that broke."""

    rate: float
    p50_ms: float
    p99_ms: float
    answered: int
    failed: int


def generator() -> str:
    """The name of what sends the requests."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def measure(target: Target, connections: int, seconds: float, *, each_status: bool = False) -> Measured:
    """Load a server for so many seconds; wrk counts whole ones.

    `each_status` counts every answer other than a 200 as failed; without it wrk counts those above 399 alone.
    """
    if shutil.which("wrk"):
        return _by_wrk(target, connections, max(1, round(seconds)), each_status)
    return run(_Client(target).run(connections, seconds))


def _by_wrk(target: Target, connections: int, seconds: int, each_status: bool) -> Measured:
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        script, body = Path(folder) / "post.lua", Path(folder) / "body"
        script.write_text((_EACH_STATUS if each_status else "") + _SCRIPT)
        body.write_bytes(target.body)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
        for name, value in target.headers.items():
            command += ["-H", f"{name}: {value}"]
        command += [target.url, "--", str(body)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    good = found["answered"] - found["refused"]
    return Measured(
        rate=good / (found["microseconds"] / 1e6),
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        answered=good,
        failed=found["refused"] + found["broken"],
    )


@dataclass(slots=True)
class _Client:
    """Connections that each wait for an answer and ask again."""

    target: Target
    latencies_ms: list[float] = field(default_factory=list)
    failed: int = 0

    async def run(self, connections: int, seconds: float) -> Measured:
        """Ask over all connections until the time is over."""
        began_s = time.perf_counter()
        await asyncio.gather(*(self._connection(began_s + seconds) for _ in range(connections)))
        wall_s = time.perf_counter() - began_s
        sorted_ms = sorted(self.latencies_ms) or [math.nan]
        p50_ms, p99_ms = (sorted_ms[int(share * (len(sorted_ms) - 1))] for share in (0.5, 0.99))
        count = len(self.latencies_ms)
        return Measured(count / wall_s, p50_ms, p99_ms, count, self.failed)

    async def _connection(self, until_s: float) -> None:
        connection = Connection(self.target)
        while (sent_s := time.perf_counter()) < until_s:
            try:
                answer = await connection.ask()
            except BROKEN:
                self.failed += 1
                await asyncio.sleep(0.01)
                continue
            if answer.status == 200:
                self.latencies_ms.append((time.perf_counter() - sent_s) * 1e3)
            else:
                self.failed += 1
        connection.close()
