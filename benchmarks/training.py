"""Measures rayloop's trainer beside bare PyTorch loops and its peers, in one run, on one model, table and batch.

Usage: python benchmarks/training.py [--quick] [--only NAME]... [--rounds N] [--json FILE] [--markdown FILE]

Our loop and the bare one train epochs in turns in one process, so what else the machine does meets both alike; ratios
are taken round by round. The peers have environments of their own and run in turns with a process of ours.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import claims
import click
import environments
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import report
import streaming_memory
import training_start
from claims import Claim
from processes import clean_environment
from rayloop.jobs.training.data import part_tables
from rayloop.platform.data import Store, create_snapshot, read_source_files
from rayloop.platform.project import load_project

FEATURES, HIDDEN, BATCH = 30, 128, 1024
ROWS = 400_000
ROW_GROUP = 65_536
TIMEOUT_S = 900
BARE_GOAL, STREAM_GOAL, PEER_GOAL = 0.97, 0.8, 5.0
PEERS = ("lightning", "accelerate")
NAMES = ("one", "two", "stream", *PEERS, "start", "streaming-memory")
HEADER = ("loop", "rows/s", "beside", "times")
HERE = Path(__file__).parent

PROJECT = f"""\
name: trained
data: {{source: SOURCE, target: label}}
task: {{params: {{numbers: standard, hidden: [{HIDDEN}], dropout: 0.0}}}}
train: {{batch_size: {BATCH}, epochs: 100}}
"""


@dataclass
class Findings:
    """All that a run found."""

    cells: list[tuple[str, ...]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(folder: Path, rows: int) -> None:
    """The project, its snapshot, and the training rows as one table for the peers."""
    source = folder / "data.parquet"
    write_table(source, rows)
    (folder / "rayloop.yaml").write_text(PROJECT.replace("SOURCE", str(source)))
    project = load_project(folder / "rayloop.yaml")
    snapshot = create_snapshot(Store(str(folder / "store")), project, read_source_files(str(source)))
    (folder / "digest").write_text(snapshot.digest)
    pq.write_table(part_tables(snapshot, project)["train"], folder / "train.parquet")


def write_table(path: Path, rows: int, chunk: int = 1_000_000) -> None:
    """Numbers of two classes that overlap, written piece by piece."""
    writer: pq.ParquetWriter | None = None
    for first in range(0, rows, chunk):
        random = np.random.default_rng(first)
        count = min(chunk, rows - first)
        label = random.integers(0, 2, count)
        numbers = random.standard_normal((FEATURES, count), dtype=np.float32) + 0.3 * label.astype(np.float32)
        columns = {f"x{place:02d}": numbers[place] for place in range(FEATURES)}
        table = pa.table({**columns, "label": label})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP)
    assert writer is not None
    writer.close()


def run_script(command: Sequence[str]) -> str:
    """The last line that a script prints. Raises CalledProcessError with its errors."""
    environment = clean_environment(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr[-1500:])
    return done.stdout.strip().splitlines()[-1]


def in_turns(folder: Path, rounds: int, names: Sequence[str], processes: int = 1) -> Mapping[str, list[float]]:
    """Rows a second of each loop in each round."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    found: dict[str, list[float]] = json.loads(
        run_script([*launcher, str(HERE / "epochs.py"), str(folder), str(rounds), *names])
    )
    return found


def compare(
    found: Findings, name: str, ours: Sequence[float], beside: str, theirs: Sequence[float], goal: float
) -> None:
    """One line of the table, and one claim."""
    ratio = statistics.median([us / them for us, them in zip(ours, theirs, strict=True)])
    found.cells.append((beside, f"{statistics.median(theirs):,.0f}", "", ""))
    found.cells.append((name, f"{statistics.median(ours):,.0f}", beside, f"{ratio:.2f}"))
    found.claims.append(claims.at_least(f"rows/s of {name} by {beside}", round(ratio, 3), goal, "times"))


def one(folder: Path, rounds: int, found: Findings) -> None:
    """One worker beside a bare loop."""
    rates = in_turns(folder, rounds, ("bare", "rayloop"))
    compare(found, "rayloop, one worker", rates["rayloop"], "bare PyTorch", rates["bare"], BARE_GOAL)


def two(folder: Path, rounds: int, found: Findings) -> None:
    """Two workers beside torchrun's DDP."""
    rates = in_turns(folder, rounds, ("bare", "rayloop"), processes=2)
    compare(found, "rayloop, two workers", rates["rayloop"], "torchrun DDP", rates["bare"], BARE_GOAL)


def stream(folder: Path, rounds: int, found: Findings) -> None:
    """Parquet read anew in each epoch beside tensors in memory; decoding has a core of its own where there is one."""
    rates = in_turns(folder, rounds, ("rayloop", "streamed"))
    compare(found, "rayloop from Parquet", rates["streamed"], "rayloop in memory", rates["rayloop"], STREAM_GOAL)


def beside_peer(name: str) -> Callable[[Path, int, Findings], None]:
    """Our loop beside a peer, one epoch of each process after the other."""

    def measure(folder: Path, rounds: int, found: Findings) -> None:
        try:
            python = environments.make(name) / "python"
        except environments.NotInstalled as reason:
            found.notes.append(f"{name} was skipped: {reason}")
            found.claims.append(claims.at_least(f"rows/s of rayloop by {name}", None, PEER_GOAL, "times"))
            return
        script = str(HERE / "peers" / f"{name}_training.py")
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(statistics.median(in_turns(folder, 2, ("rayloop",))["rayloop"]))
            command = [str(python), script, str(folder / "train.parquet"), "2", str(BATCH), str(HIDDEN)]
            theirs.append(statistics.median(json.loads(run_script(command))))
        shown = f"{name} {environments.version(name, python.parent)}"
        compare(found, "rayloop", ours, shown, theirs, PEER_GOAL)

    return measure


PARTS: Mapping[str, Callable[[Path, int, Findings], None]] = {
    "one": one,
    "two": two,
    "stream": stream,
    **{name: beside_peer(name) for name in PEERS},
}


def run(names: Sequence[str], rounds: int, is_quick: bool, say: report.Say) -> Findings:
    """Measure what was asked for."""
    found = Findings(notes=[f"{report.hardware()}."])
    with tempfile.TemporaryDirectory(prefix="training-") as text:
        folder = Path(text)
        say(f"writing a table of {ROWS:,} rows")
        prepare(folder, ROWS // 4 if is_quick else ROWS)
        for name in [name for name in PARTS if name in names]:
            say(f"measuring {name}")
            PARTS[name](folder, rounds, found)
    if "start" in names:
        say("measuring the time to the first step, on a cluster of its own")
        found.claims += training_start.measure(2 if is_quick else 3, say)
    if "streaming-memory" in names:
        rows = streaming_memory.QUICK_ROWS if is_quick else streaming_memory.ROWS
        say(f"training an epoch of {rows:,} rows under a limit of memory")
        measured = streaming_memory.measure(rows, write_table)
        found.claims += measured.claims()
        found.notes.append(measured.describe())
    found.notes.append(
        f"A {FEATURES}-{HIDDEN}-2 perceptron, batch {BATCH}, float32, AdamW, one thread a process; medians of {rounds} "
        "rounds in turns. rayloop's module also scales its inputs, which the others' does not."
    )
    return found


@click.command()
@click.option("--quick", is_flag=True, help="a quarter of the rows, three rounds")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="a part; may be given again")
@click.option("--rounds", type=click.IntRange(min=1), help="rounds  [9, or 3 with --quick]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the tables there")
def main(quick: bool, only: Sequence[str], rounds: int | None, json_file: Path | None, markdown: Path | None) -> None:
    """Measure rayloop's trainer against bare loops and its peers."""
    report.leave_on_sigterm()
    console = report.terminal()
    try:
        found = run(only or NAMES, rounds or (3 if quick else 9), quick, report.teller(console))
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"{error}\n{error.stderr}") from None
    report.publish(console, [(HEADER, found.cells)], found.claims, found.notes, markdown, json_file)


if __name__ == "__main__":
    main()
