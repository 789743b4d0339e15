"""Counts lost requests while replicas, the edge and Serve's HAProxy are killed, reloaded and moved under load.

Usage: python benchmarks/faults.py [--quick] [--requests N] [--connections N] [--json FILE]

The client does what every HTTP client with retries does, and no more: a request whose connection is refused or
breaks is sent again on a new connection, and counted. A request fails where it gets any other answer than a 200,
or none within 30 s of trying. Every answer must name a version that the split allowed at some moment between
sending and receiving.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rayloop.cluster import LocalCluster, free_port
from rayloop.jobs.serving import set_split
from rayloop.platform.settings import Settings
from rayloop.platform.state import Deployment
from rayloop.platform.workspace import Workspace
from rayloop.serve.edge import EdgeProcess
from rayloop.serve.keeper import edge_folder, edge_settings
from rayloop.serve.versions import apply_deployments, remove_version
from rich.console import Console
from rich.table import Table

NAME = "faults"
FEATURES = 30
GIVE_UP_S = 30.0
PROJECT = f"""\
name: {NAME}
data: {{source: data.parquet, target: label}}
task: {{params: {{hidden: [64]}}}}
train: {{epochs: 2}}
serve: {{replicas: 2, cpus: 0.25}}
"""


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    sent_again: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    strays: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0


@dataclass
class Allowed:
    """Which versions the split has allowed, and since when; an old split is allowed until the edge has the new one."""

    spans: list[tuple[float, float, frozenset[str]]] = field(default_factory=list)

    def change(self, versions: set[str], apply: Callable[[], object]) -> None:
        """Let a change of split happen: the new versions count from before it, the old ones until after it."""
        began_s = time.monotonic()
        self.spans.append((began_s, float("inf"), frozenset(versions)))
        apply()
        ended_s = time.monotonic()
        for place, (since, until, names) in enumerate(self.spans[:-1]):
            if until == float("inf"):
                self.spans[place] = (since, ended_s, names)

    def at(self, sent_s: float, got_s: float) -> set[str]:
        """Every version allowed at some moment of a span."""
        return {name for since, until, names in self.spans if since <= got_s and until >= sent_s for name in names}


class Load:
    """Connections that send one row each, again and again, until so many requests are done."""

    def __init__(self, port: int, requests: int, connections: int, allowed: Allowed) -> None:
        self._port, self._left, self._connections, self._allowed = port, requests, connections, allowed
        body = {"inputs": [{"name": "x", "shape": [1, FEATURES], "datatype": "FP32", "data": [0.1] * FEATURES}]}
        content = json.dumps(body).encode()
        head = f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
        self._request = head.encode() + content
        self.tally = Tally()

    @property
    def is_done(self) -> bool:
        """True where no request is left to send."""
        return self._left <= 0

    async def run(self) -> None:
        """Send all requests."""
        await asyncio.gather(*(self._connection() for _ in range(self._connections)))

    async def _connection(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while self._left > 0:
            self._left -= 1
            sent_s = time.monotonic()
            while True:
                try:
                    if streams is None:
                        streams = await asyncio.open_connection("127.0.0.1", self._port)
                    status, version = await asyncio.wait_for(self._ask(*streams), GIVE_UP_S)
                    self._count(status, version, sent_s)
                    break
                except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                    if streams is not None:
                        streams[1].close()
                    streams = None
                    self.tally.sent_again += 1
                    if time.monotonic() - sent_s > GIVE_UP_S:
                        self.tally.failed[type(error).__name__] += 1
                        break
                    await asyncio.sleep(0.02)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, str]:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length: ")[2].partition("\r")[0]
        if length:
            await reader.readexactly(int(length))
        else:  # Serve's Python proxy, which stands in while no replica is up, answers in chunks
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        if "connection: close" in head:
            writer.close()
        return int(head[9:12]), head.partition("x-rayloop-version: ")[2].partition("\r")[0]

    def _count(self, status: int, version: str, sent_s: float) -> None:
        got_s = time.monotonic()
        self.tally.slowest_ms = max(self.tally.slowest_ms, (got_s - sent_s) * 1e3)
        if status != 200:
            self.tally.failed[f"status {status}"] += 1
            return
        self.tally.answered += 1
        self.tally.versions[version] += 1
        if version not in self._allowed.at(sent_s, got_s):
            self.tally.strays.append(version)


class Faults:
    """The faults, each a thing that happens once; what it did is counted."""

    def __init__(self, workspace: Workspace, cluster: LocalCluster, allowed: Allowed) -> None:
        self._workspace, self._cluster, self._allowed = workspace, cluster, allowed
        self._random = random.Random(5)
        self.done: Counter[str] = Counter()

    def kill_replica(self) -> None:
        """kill -9 of one replica of one version, the other one left alone."""
        replicas = [p for p in self._cluster.owner.processes() if "ServeReplica" in " ".join(p.cmdline())]
        if replicas:
            os.kill(self._random.choice(replicas).pid, signal.SIGKILL)
            self.done["replicas killed"] += 1

    def kill_edge(self) -> None:
        """kill -9 of the edge's HAProxy."""
        running = EdgeProcess(edge_settings(self._workspace), edge_folder(self._workspace.settings)).find_running()
        if running is not None:
            os.kill(running.pid, signal.SIGKILL)
            self.done["edges killed"] += 1

    def change_split(self) -> None:
        """Another weight for version 2, from 10 to 90 %."""
        percent = self._random.randint(10, 90)
        shares = [f"1={100 - percent}", f"2={percent}"]
        self._allowed.change({"1", "2"}, lambda: set_split(self._workspace, NAME, shares, "benchmark"))
        self.done["splits changed"] += 1

    def scale(self, replicas: int) -> None:
        """Another number of replicas of version 2, which reloads Serve's HAProxy."""
        (found,) = [d for d in self._workspace.endpoints.deployments(NAME) if d.version == 2]
        options = {**found.options, "replicas": replicas}
        self._workspace.endpoints.add_deployment(Deployment(NAME, 2, found.artifact, options))
        apply_deployments(self._workspace)
        self.done["versions scaled"] += 1

    def promote(self) -> None:
        """All traffic to version 2, and version 1 deleted."""
        self._allowed.change({"2"}, lambda: set_split(self._workspace, NAME, ["2=100"], "benchmark"))
        remove_version(self._workspace, NAME, 1)
        self.done["versions promoted and deleted"] += 1


@contextmanager
def served() -> Iterator[tuple[Workspace, LocalCluster]]:
    """A cluster of its own with two versions of two replicas each; ended in any case."""
    home = Path(tempfile.mkdtemp(prefix="rl-"))
    ports = {f"RAYLOOP_{name}_PORT": str(free_port()) for name in ("EDGE", "MLFLOW", "DASHBOARD", "SERVE")}
    environment = {**os.environ, **ports, "RAYLOOP_HOME": str(home / ".rayloop")}
    (home / "rayloop.yaml").write_text(PROJECT)
    values = np.random.default_rng(3)
    label = values.integers(0, 2, 2_000)
    columns = {f"x{i:02d}": values.normal(label, 1.0).astype("float32") for i in range(FEATURES)}
    pq.write_table(pa.table({**columns, "label": label}), home / "data.parquet")

    def rayloop(*arguments: str) -> None:
        command = [sys.executable, "-m", "rayloop.cli", *arguments]
        subprocess.run(command, cwd=home, env=environment, check=True, stdout=subprocess.DEVNULL)

    try:
        rayloop("up")
        for version in ("1", "2"):
            rayloop("train")
            rayloop("deploy", NAME, "--version", version)
        settings = Settings.load(environment)
        cluster = LocalCluster.find(settings)
        assert cluster is not None
        yield Workspace(settings), cluster
    finally:
        subprocess.run([sys.executable, "-m", "rayloop.cli", "down"], cwd=home, env=environment, check=False)
        shutil.rmtree(home, ignore_errors=True)


async def storm(load: Load, faults: Faults) -> None:
    """The load, and the faults spread over it: a replica each 5 s, fifty splits, two edges, two scalings."""
    began_s = time.monotonic()
    plan: list[tuple[float, Callable[[], None]]] = []
    plan += [(5.0 * k, faults.kill_replica) for k in range(1, 200)]
    plan += [(1.0 + 0.5 * k, faults.change_split) for k in range(50)]
    plan += [(8.0, lambda: faults.scale(3)), (18.0, lambda: faults.scale(2))]
    plan += [(11.0, faults.kill_edge), (21.0, faults.kill_edge), (30.0, faults.promote)]
    sending = asyncio.create_task(load.run())
    for at_s, fault in sorted(plan, key=lambda entry: entry[0]):
        while time.monotonic() - began_s < at_s and not sending.done():
            await asyncio.sleep(0.02)
        if sending.done():
            break
        await asyncio.to_thread(fault)
    await sending


@click.command()
@click.option("--requests", default=100_000, show_default=True)
@click.option("--connections", default=64, show_default=True)
@click.option("--quick", is_flag=True, help="40,000 requests")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
def main(requests: int, connections: int, quick: bool, json_file: Path | None) -> None:
    """Count lost requests under faults."""
    console = Console()
    requests = 40_000 if quick else requests
    with served() as (workspace, cluster):
        allowed = Allowed()
        allowed.change({"1", "2"}, lambda: set_split(workspace, NAME, ["1=50", "2=50"], "benchmark"))
        load, faults = (
            Load(workspace.settings.edge_port, requests, connections, allowed),
            Faults(workspace, cluster, allowed),
        )
        began_s = time.monotonic()
        asyncio.run(storm(load, faults))
        wall_s = time.monotonic() - began_s
    _show(console, load.tally, faults.done, wall_s)
    claims = _claims(load.tally, requests)
    if json_file is not None:
        json_file.write_text(json.dumps({"claims": claims}, indent=1))
    sys.exit(0 if all(claim["holds"] for claim in claims) else 1)


def _show(console: Console, tally: Tally, done: Counter[str], wall_s: float) -> None:
    table = Table("what", "count", box=None)
    table.add_row("requests answered", f"{tally.answered} in {wall_s:.1f} s on {psutil.cpu_count()} cores")
    table.add_row("failed", f"{sum(tally.failed.values())} {dict(tally.failed) or ''}")
    table.add_row("sent again by the client", str(tally.sent_again))
    table.add_row("answers by version", ", ".join(f"v{k} {v}" for k, v in sorted(tally.versions.items())))
    table.add_row("answers of a version that the split did not allow", str(len(tally.strays)))
    table.add_row("slowest answer", f"{tally.slowest_ms:.0f} ms")
    for what, count in done.items():
        table.add_row(what, str(count))
    console.print(table)


def _claims(tally: Tally, requests: int) -> list[dict[str, Any]]:
    failed, strays = sum(tally.failed.values()), len(tally.strays)
    return [
        {
            "name": "requests lost under faults",
            "value": failed,
            "goal": 0,
            "unit": f"of {requests}",
            "holds": failed == 0,
        },
        {"name": "answers of a version not allowed", "value": strays, "goal": 0, "unit": "", "holds": strays == 0},
    ]


if __name__ == "__main__":
    main()
