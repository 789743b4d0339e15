"""Trainings whose ranks are processes of their own, without Ray: what the tests of faults and of FSDP2 ask for.

Each line that comes in is JSON, [folder, world, options], and each that goes out the exit codes of its ranks. Ranks are
forked, since importing torch takes seconds. The options: `plan` (fields of a Plan), `rule` (of a CheckpointConfig), and
`fault` ({rank, kind: step or fsync, at}), which kills that rank with -9. A rank that dies takes the others along, as
those of Ray Train do.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.data import Rows
from rayloop.jobs.training.loop import Place, Plan, Training, build_module, whole_state
from rayloop.jobs.training.parallel import inner, prepare_module
from rayloop.jobs.training.saving import Saver
from rayloop.jobs.training.session import Alone, Session
from rayloop.platform.data import Store
from rayloop.platform.model.schema import Feature, Schema, Target
from rayloop.platform.model.task import find_task
from rayloop.platform.project.training import CheckpointConfig
from torch import Tensor

SCHEMA = Schema(tuple(Feature(f"x{n}", "numeric", "FP32") for n in range(6)), Target("y", "INT64", classes=(0, 1)))
PLAN: Mapping[str, Any] = {
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
    "precision": "fp32",
    "seed": 0,
    "metric": "accuracy",
    "params": {"hidden": [16, 8], "dropout": 0.2},
}


def table() -> Rows:
    """Ten batches of two classes, the last of them short."""
    numbers = torch.randn(310, 6, generator=torch.Generator().manual_seed(0))
    return Rows({"numeric": numbers}, (numbers[:, 0] > 0).long())


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over all weights."""
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


class Dies(Alone):
    """A cluster on which this process is killed after so many steps, or at the so-manyth write to the disk."""

    def __init__(self, fault: Mapping[str, Any], rank: int) -> None:
        self.left = fault["at"] if fault and fault["rank"] == rank else None
        if fault and fault["kind"] == "fsync":
            synced = os.fsync
            os.fsync = lambda file: (self.count(), synced(file))[1]
        self.counts_steps = bool(fault) and fault["kind"] == "step"

    def count(self) -> None:
        """One step, or one write, is under way."""
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, rank: int, world: int, options: Mapping[str, Any]) -> None:
    """Train to the end, and write down what came of it."""
    torch.use_deterministic_algorithms(True)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    plan = Plan(**{**PLAN, **options.get("plan", {})})
    rows, task, place = table(), find_task("tabular"), Place(rank, world)
    module, _ = prepare_module(task, build_module(task, SCHEMA, plan), plan, place, rows.slice(0, 2))
    training = Training(task, module, plan, place)
    saver = Saver(Checkpoints(Store(str(folder / "store")), "checkpoints", keep=30), place, plan.strategy, print)
    outside = Dies(options.get("fault", {}), rank)
    session = Session(training, place, saver, CheckpointConfig(**options.get("rule", {})), outside)
    if outside.counts_steps:
        step = session._after_step
        session._after_step = lambda: (step(), outside.count())[0]  # type: ignore[method-assign]
    session.run(rows, rows if rank == 0 or plan.strategy == "fsdp" else None)
    state = whole_state(inner(training.module))
    if rank == 0:
        torch.save({"weights": state, "best": training.best_weights()}, folder / "weights.pt")
        history = [{name: float(value) for name, value in line.items()} for line in training.history]
        (folder / "result.json").write_text(json.dumps({"sha256": digest(state), "history": history}))
    if world > 1:
        # Without destructors: DDP's joins gloo's thread with the interpreter's lock, which that thread may wait for.
        dist.barrier()
        sys.stdout.flush()
        os._exit(0)


def fork(folder: Path, rank: int, world: int, options: Mapping[str, Any]) -> int:
    """Start a rank; what it says is in FOLDER/rankN.txt."""
    child = os.fork()
    if child:
        return child
    said = os.open(folder / f"rank{rank}.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        main(folder, rank, world, options)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def run(folder: Path, world: int, options: Mapping[str, Any]) -> list[int]:
    """Run all ranks to their ends."""
    folder.mkdir(exist_ok=True)
    (folder / "meet").unlink(missing_ok=True)
    running = {fork(folder, rank, world, options): rank for rank in range(world)}
    codes = [0] * world
    while running:
        child, status = os.wait()
        codes[running.pop(child)] = os.waitstatus_to_exitcode(status)
        if status:
            for other in running:
                os.kill(other, signal.SIGKILL)
    return codes


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(run(Path(asked[0]), *asked[1:])), flush=True)
