"""Trains an epoch of a table that is larger than the memory it is given, and says what it took.

Usage: streaming_memory.py FOLDER: trains in this process, under a limit, and prints what it measured
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import claims
import psutil
import pyarrow.parquet as pq
from claims import Claim
from processes import clean_environment

ROWS, QUICK_ROWS = 20_000_000, 2_000_000
LIMIT_BYTES = 2 << 30
HERE = Path(__file__).parent
PROJECT = """\
name: streamed
data: {source: SOURCE, target: label}
task: {params: {numbers: standard, hidden: [128], dropout: 0.0}}
train: {batch_size: 1024, epochs: 1, input: stream}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an epoch took."""

    rows: int
    peak_bytes: int
    table_bytes: int
    wall_s: float

    def claims(self) -> list[Claim]:
        """That it stayed below the limit."""
        return [
            claims.at_most("peak memory of the worker that streams", self.peak_bytes >> 20, LIMIT_BYTES >> 20, "MiB")
        ]

    def describe(self) -> str:
        """For the reader."""
        return (
            f"Streaming: {self.rows:,} training rows, {self.table_bytes >> 20:,} MiB as float32, in {self.wall_s:.0f} "
            f"s; peak resident memory {self.peak_bytes >> 20:,} MiB, data segment limited to {LIMIT_BYTES >> 20:,} MiB."
        )


def measure(rows: int, write_table: Callable[[Path, int], None]) -> Measured:
    """Write the table, and train in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="streaming-") as text:
        folder = Path(text)
        write_table(folder / "data.parquet", rows)
        environment = clean_environment(OMP_NUM_THREADS="1")
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        command = [sys.executable, str(HERE / "streaming_memory.py"), str(folder)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))


def train(folder: Path) -> Measured:
    """An epoch, as a worker trains it, of a snapshot that is made by hand: making one reads whole files."""
    import hashlib

    import torch
    from rayloop.jobs.training.loop import Place, Plan, Training, build_module
    from rayloop.jobs.training.stream import PartReader, StreamFeed
    from rayloop.platform.data import Manifest, Snapshot, SnapshotFile, Store
    from rayloop.platform.model.schema import fit_schema
    from rayloop.platform.model.task import find_task
    from rayloop.platform.project import parse_project

    torch.set_num_threads(1)
    path = folder / "data.parquet"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    opened = pq.ParquetFile(path)
    count = opened.metadata.num_rows
    named = SnapshotFile(digest, count, path.stat().st_size, path.name)
    inside = folder / "store" / named.object_name
    inside.parent.mkdir(parents=True)
    inside.hardlink_to(path)
    columns = tuple((column.name, str(column.type)) for column in opened.schema_arrow)
    snapshot = Snapshot(Store(str(folder / "store")), Manifest((named,), columns))
    project = parse_project(PROJECT.replace("SOURCE", str(path)))
    schema = fit_schema(opened.read_row_group(0), project)
    task, plan, place = find_task("tabular"), Plan.of(project), Place()
    feed = StreamFeed(PartReader(snapshot, project, "train"), task, schema, plan, place)
    training = Training(task, build_module(task, schema, plan), plan, place)
    began_s = time.perf_counter()
    training.run_epoch(feed)
    wall_s = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(feed.count, peak, feed.count * 4 * len(schema.numeric), wall_s)


def _end_above(limit_bytes: int) -> None:
    """End the process where its resident memory passes the limit, as a container would."""
    process = psutil.Process()
    while process.memory_info().rss <= limit_bytes:
        time.sleep(0.05)
    os.write(2, b"above the limit of memory\n")
    os._exit(1)


if __name__ == "__main__":
    # Of anonymous memory: threads' stacks and torch's code reserve more addresses than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    threading.Thread(target=_end_above, args=(LIMIT_BYTES,), daemon=True).start()
    from dataclasses import asdict

    print(json.dumps(asdict(train(Path(sys.argv[1])))))
