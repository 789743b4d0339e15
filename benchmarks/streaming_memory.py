"""Takes a table that is larger than the memory it is given from its source to a verdict, and says what each step took.

Usage: streaming_memory.py STEP FOLDER: one step in this process, under a limit; prints what it measured
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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import claims
import psutil
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
class Step:
    """What a step took in a process of its own."""

    name: str
    peak_bytes: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What all steps took."""

    rows: int
    table_bytes: int
    steps: tuple[Step, ...]

    def claims(self) -> list[Claim]:
        """That each stayed below the limit."""
        limit = LIMIT_BYTES >> 20
        return [
            claims.at_most(f"peak memory of {step.name}, streamed", step.peak_bytes >> 20, limit, "MiB")
            for step in self.steps
        ]

    def describe(self) -> str:
        """For the reader."""
        each = "; ".join(f"{step.name} {step.peak_bytes >> 20:,} MiB, {step.wall_s:.0f} s" for step in self.steps)
        return (
            f"Streaming: {self.rows:,} rows, {self.table_bytes >> 20:,} MiB as float32, each step in a process whose "
            f"data segment is limited to {LIMIT_BYTES >> 20:,} MiB; peak resident memory and time: {each}."
        )


def measure(rows: int, write_table: Callable[[Path, int], None]) -> Measured:
    """Write the table, and take it through all steps, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="streaming-") as text:
        folder = Path(text)
        write_table(folder / "data.parquet", rows)
        (folder / "rayloop.yaml").write_text(PROJECT.replace("SOURCE", str(folder / "data.parquet")))
        environment = clean_environment(OMP_NUM_THREADS="1")
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        steps = []
        for name in STEPS:
            command = [sys.executable, str(HERE / "streaming_memory.py"), name, str(folder)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            steps.append(Step(**json.loads(done.stdout.strip().splitlines()[-1])))
        columns = json.loads((folder / "schema.json").read_text())["features"]
        return Measured(rows, rows * 4 * len(columns), tuple(steps))


def snapshot(folder: Path) -> None:
    """Check, hash, profile and store the source."""
    from rayloop.platform.data import Store, create_snapshot, read_source_files
    from rayloop.platform.project import load_project

    project = load_project(folder / "rayloop.yaml")
    made = create_snapshot(Store(str(folder / "store")), project, read_source_files(project.data.source))
    (folder / "digest").write_text(made.digest)


def schema(folder: Path) -> None:
    """Learn the schema, as the job does before it starts workers."""
    from rayloop.jobs.training.plan import Plan
    from rayloop.jobs.training.preparation import prepare
    from rayloop.jobs.training.reader import open_parts

    project, made = _opened(folder)
    found, _ = prepare(Plan.of(project), project, open_parts(made, project, "stream"))
    (folder / "schema.json").write_text(json.dumps(found.to_dict()))


def epoch(folder: Path) -> None:
    """Train as a worker does, and keep the weights."""
    import torch
    from rayloop.jobs.training.loop import Place, Plan, Training, build_module
    from rayloop.jobs.training.worker import open_rows
    from rayloop.platform.model.schema import Schema
    from rayloop.platform.model.task import find_task
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    project, made = _opened(folder)
    learnt = Schema.from_dict(json.loads((folder / "schema.json").read_text()))
    task, plan, place = find_task("tabular"), Plan.of(project), Place()
    feed, held_out, _ = open_rows(task, learnt, made, project, plan, place)
    training = Training(task, build_module(task, learnt, plan), plan, place)
    training.run_epoch(feed)
    training.evaluate(held_out)
    save_file(training.best_weights(), str(folder / "weights"))


def profile(folder: Path) -> None:
    """Make the reference profile, and the artifact."""
    from rayloop.jobs.training.artifact import reference_profile
    from rayloop.jobs.training.loop import Plan, build_module
    from rayloop.jobs.training.reader import open_parts
    from rayloop.platform.model.artifact import LoadedModel, save_artifact
    from rayloop.platform.model.schema import Schema
    from rayloop.platform.model.task import find_task
    from safetensors.torch import load_file

    project, made = _opened(folder)
    learnt = Schema.from_dict(json.loads((folder / "schema.json").read_text()))
    task, plan = find_task("tabular"), Plan.of(project)
    module = build_module(task, learnt, plan)
    module.load_state_dict(load_file(str(folder / "weights")))
    model = LoadedModel(learnt, task, module.eval(), learnt.signature(), "")
    parts = open_parts(made, project, plan.input)
    found = reference_profile(model, [parts["validation"], parts["test"]], plan.seed)
    save_artifact(folder / "artifact", module, learnt, "tabular", plan.params, found)


def verdict(folder: Path) -> None:
    """Measure the artifact on the test rows."""
    from rayloop.jobs.evaluate import measure_on
    from rayloop.jobs.training.reader import open_parts
    from rayloop.platform.model.artifact import load_artifact

    project, made = _opened(folder)
    measure_on(load_artifact(str(folder / "artifact")), open_parts(made, project, "stream")["test"])


STEPS: Mapping[str, Callable[[Path], None]] = {
    "snapshot": snapshot,
    "schema": schema,
    "epoch": epoch,
    "profile": profile,
    "verdict": verdict,
}
"""In this order: each goes on from what the ones before it left in the folder."""


def _opened(folder: Path) -> tuple[Any, Any]:
    """The project and its snapshot."""
    from rayloop.platform.data import Store, open_snapshot
    from rayloop.platform.project import load_project

    store = Store(str(folder / "store"))
    return load_project(folder / "rayloop.yaml"), open_snapshot(store, (folder / "digest").read_text())


def _peak_bytes() -> int:
    """The most resident memory of this process; what `getrusage` tells begins with that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


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
    began_s = time.perf_counter()
    STEPS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(asdict(Step(sys.argv[1], _peak_bytes(), time.perf_counter() - began_s))))
