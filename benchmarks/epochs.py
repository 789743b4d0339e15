"""Trains epochs by several loops in turns in one process, and prints the seconds of each.

Usage: [torchrun --nproc-per-node 2] epochs.py FOLDER ROUNDS LOOP...

One process meets whatever else the machine does alike in each loop. The loops have one model, one table and one batch;
beside `streamed` a turn is of three epochs, since it reads ahead from one to the next, and not into another's turn.
`bare` is what a person would write in ten lines, with the tensors in memory and the optimizer as torch gives it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from rayloop.jobs.training.data import Rows, encode_rows
from rayloop.jobs.training.loop import Place, Plan, Training, build_module
from rayloop.jobs.training.parallel import prepare_module
from rayloop.jobs.training.stream import PartReader, StreamFeed
from rayloop.platform.data import Store, open_snapshot
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.task import find_task
from rayloop.platform.project import load_project
from torch import Tensor, nn

TASK = find_task("tabular")
EPOCHS_BESIDE_STREAM = 3


def bare(rows: Rows, plan: Plan, place: Place) -> Callable[[], None]:
    """An epoch of a loop without any library: gather, forward, backward, step."""
    inputs, target = rows.inputs["numeric"], rows.target
    hidden = int(plan.params["hidden"][0])
    module: nn.Module = nn.Sequential(nn.Linear(inputs.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 2))
    if place.world > 1:
        module = nn.parallel.DistributedDataParallel(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    loss_of = nn.CrossEntropyLoss()
    size = plan.batch_size // place.world
    generator = torch.Generator().manual_seed(plan.seed)

    def epoch() -> None:
        order: Tensor = torch.randperm(rows.count, generator=generator)[place.rank :: place.world]
        for first in range(0, rows.count // place.world, size):
            places = order[first : first + size]
            optimizer.zero_grad()
            loss_of(module(inputs[places]), target[places]).backward()
            optimizer.step()

    return epoch


def rayloop(rows: Rows | StreamFeed, sample: Rows, schema: Schema, plan: Plan, place: Place) -> Callable[[], None]:
    """An epoch of our loop, as a worker of Ray Train runs it."""
    module, _ = prepare_module(TASK, build_module(TASK, schema, plan), plan, place, sample.slice(0, 2))
    training = Training(TASK, module, plan, place)

    def epoch() -> None:
        torch.use_deterministic_algorithms(True)
        training.run_epoch(rows)
        torch.use_deterministic_algorithms(False)

    return epoch


def streamed(feed: StreamFeed, sample: Rows, schema: Schema, plan: Plan, place: Place) -> Callable[[], None]:
    """The same from Parquet; a turn begins without any row, and nothing is read after it."""
    epoch = rayloop(feed, sample, schema, plan, place)

    def turn() -> None:
        for _ in range(EPOCHS_BESIDE_STREAM):
            epoch()
        feed.close()

    return turn


def main(folder: Path, rounds: int, names: list[str]) -> None:
    """Run the loops in turns; rank 0 prints one line of JSON."""
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    place = Place(int(os.environ.get("RANK", "0")), world)
    project = load_project(folder / "rayloop.yaml")
    snapshot = open_snapshot(Store(str(folder / "store")), (folder / "digest").read_text())
    reader = PartReader(snapshot, project, "train")
    table = snapshot.table()
    schema = fit_schema(table, project)
    rows = encode_rows(TASK, schema, table).take(torch.cat([torch.from_numpy(g.places) for g in reader.groups]))
    memory, plan = Rows(rows.inputs, rows.target), Plan.of(project)
    del table
    loops = {
        "bare": lambda: bare(memory, plan, place),
        "rayloop": lambda: rayloop(memory, memory, schema, plan, place),
        "streamed": lambda: streamed(StreamFeed(reader, TASK, schema, plan, place), memory, schema, plan, place),
    }
    epochs = {name: loops[name]() for name in names}
    each = EPOCHS_BESIDE_STREAM if "streamed" in names else 1
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            if world > 1:
                dist.barrier()
            began_s = time.perf_counter()
            for _ in range(1 if name == "streamed" else each):
                epoch()
            if number:  # the first is the warm-up
                seconds[name].append((time.perf_counter() - began_s) / each)
    if place.rank == 0:
        print(json.dumps({name: [memory.count / spent_s for spent_s in found] for name, found in seconds.items()}))
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
