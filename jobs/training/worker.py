"""What each Ray Train worker runs: it opens the run's data and state, and hands them to a session."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.train
import ray.train.torch

from ...platform.data import Snapshot, Store, open_snapshot
from ...platform.errors import RayloopError, Unavailable
from ...platform.model.schema import Schema
from ...platform.model.task import Task, find_task
from ...platform.project import Project
from ..report import say
from .checkpoint import Checkpoints
from .data import Rows, encode_rows, forget_tables, part_tables
from .determinism import set_determinism
from .feed import Feed, MemoryFeed
from .loop import OutOfMemory, Place, Plan, Training, TrainingDiverged, build_module
from .parallel import prepare_module
from .precision import set_tf32
from .run import Run
from .saving import STATE_FILE, Saver
from .session import Session
from .stream import PartReader, StreamFeed
from .suspects import suspects
from .witness import COUNTED_ROWS, Witness

NICENESS = 15  # what Ray gives its workers by default: a training gives way to answers on the same node
SAMPLE_ROWS = 2
MOST_HELD_OUT_ROWS = 500_000  # of a table that is streamed


class RayTrain:
    """The cluster as a session sees it."""

    def __init__(self, tell: Callable[[str], None], began_s: float) -> None:
        self._tell, self._began_s = tell, began_s

    def begin(self) -> None:
        """Say how long it took from the start of the run to here."""
        self._tell(f"first step {time.time() - self._began_s:.2f} s after the start")

    def report(self, lines: list[tuple[int, Mapping[str, float]]]) -> None:
        """One report for several epochs: Ray Train takes one a poll, and the next one waits."""
        ray.train.report({"lines": [[epoch, dict(metrics)] for epoch, metrics in lines]})

    def is_going_away(self) -> bool:
        """True where a node of the workers is drained."""
        return ray.train.get_preemption_info() is not None


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """Train on this rank until the plan's end; returns why the run must fail, or nothing."""
    os.nice(max(0, NICENESS - os.nice(0)))
    project = Project.model_validate(config["project"])
    store = Store(config["store"])
    run = Run(store, config["key"])
    if failure := run.failure():
        return failure  # an earlier try of this job found that every try ends so
    plan = Plan(**config["plan"])
    plan = replace(plan, accumulate=max(plan.accumulate, run.accumulate()))
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    tell = say if place.rank == 0 else lambda _: None
    # A run that loses a worker, or is repeated, ends with the same numbers.
    set_determinism(project.train.deterministic, place.device)
    set_tf32(plan.tf32)

    task, schema = find_task(project.task.use, Path.cwd()), Schema.from_dict(config["schema"])
    snapshot = open_snapshot(store, config["snapshot"])
    feed, held_out, sample = open_rows(task, schema, snapshot, project, plan, place)
    module, reason = prepare_module(task, build_module(task, schema, plan), plan, place, sample.slice(0, SAMPLE_ROWS))
    if reason:
        tell(f"train.compile: the module runs uncompiled: {reason}")
    saver = Saver(Checkpoints(store, run.checkpoints, project.train.checkpoint.keep), place, plan.strategy, tell)
    training = Training(task, module, plan, place, tell)
    # Evaluating a sharded module takes all ranks; else it is rank 0's.
    judges = place.rank == 0 or plan.strategy == "fsdp"
    outside = RayTrain(tell, config["began_s"])
    witness = Witness(task, project, training, place, sample.slice(0, COUNTED_ROWS))
    if project.train.profile:
        witness.profile_to(store, f"runs/{run.key}/profile")
    session = Session(training, place, saver, project.train.checkpoint, outside, tell, witness)
    try:
        session.run(feed, held_out if judges else None)
    except Unavailable:
        raise  # the store is away or full: the next try may find it well
    except TrainingDiverged as error:
        columns = suspects(schema, part_tables(snapshot, project)["train"]) if plan.input == "memory" else ""
        raise run.fail(TrainingDiverged(error.epoch, error.step, columns)) from None
    except OutOfMemory as error:
        if plan.allow_smaller_batch and error.rows > 1:
            tell(f"memory does not suffice for {error.rows} rows at once: the next try computes half as many")
            run.set_accumulate(training.accumulate * 2)
            raise
        raise run.fail(error) from None
    except RayloopError as error:
        raise run.fail(error) from None
    finally:
        witness.end()
    return {}


def open_rows(
    task: Task, schema: Schema, snapshot: Snapshot, project: Project, plan: Plan, place: Place
) -> tuple[Feed, Rows, Rows]:
    """What is trained on, what is held out, and a few rows to try things on."""
    if plan.input == "stream":
        reader = PartReader(snapshot, project, "train")
        held_out = _first_rows(task, schema, PartReader(snapshot, project, "validation")).to(place.device)
        return StreamFeed(reader, task, schema, plan, place), held_out, held_out
    tables = part_tables(snapshot, project)
    held_out = encode_rows(task, schema, tables["validation"]).to(place.device)
    rows = encode_rows(task, schema, tables["train"]).to(place.device)
    del tables
    forget_tables()
    return MemoryFeed(rows, plan.batch_size, plan.seed, place), held_out, held_out


def _first_rows(task: Task, schema: Schema, reader: PartReader) -> Rows:
    """Held-out rows up to a bound: a table that is not held in memory has more of them than are needed."""
    columns = [feature.name for feature in schema.features] + [schema.target.name]
    tables, count = [], 0
    for group in reader.groups:
        tables.append(reader.read(group, columns))
        count += tables[-1].num_rows
        if count >= MOST_HELD_OUT_ROWS:
            break
    return encode_rows(task, schema, pa.concat_tables(tables))


__all__ = ["STATE_FILE", "train_worker"]
