"""What each Ray Train worker runs: it opens the run's data and state, and hands them to a session."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch

from ...platform.data import Snapshot, Store, open_snapshot
from ...platform.model.schema import Schema
from ...platform.model.task import Task, find_task
from ...platform.project import Project
from ..report import say
from .checkpoint import Checkpoints
from .data import Rows, encode_rows, forget_tables, part_tables
from .determinism import set_determinism
from .faults import noted
from .feed import Feed, MemoryFeed
from .loop import Place, Plan, Training, build_module
from .parallel import prepare_module, release
from .precision import set_tf32
from .reader import open_parts, read_parts
from .run import Run
from .saving import STATE_FILE, Saver
from .session import Outside, Session
from .stream import StreamFeed
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
    store.require()  # the job read from it
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

    outside = RayTrain(tell, config["began_s"])
    train_rank(project, Schema.from_dict(config["schema"]), config["snapshot"], store, run, plan, place, outside, tell)
    return {}


def train_rank(
    project: Project,
    schema: Schema,
    digest: str,
    store: Store,
    run: Run,
    plan: Plan,
    place: Place,
    outside: Outside,
    tell: Callable[[str], None],
) -> None:
    """Train on this rank until the plan's end, or raise an error of ours; a final one is noted for the job."""

    def columns() -> str:
        train = open_parts(open_snapshot(store, digest), project, "stream")["train"]
        return suspects(schema, train.tables(schema.columns))

    with noted(run, plan, tell, columns):
        task, snapshot = find_task(project.task.use, Path.cwd()), open_snapshot(store, digest)
        feed, held_out, sample = open_rows(task, schema, snapshot, project, plan, place)
        built = build_module(task, schema, plan)
        module, reason = prepare_module(task, built, plan, place, sample.slice(0, SAMPLE_ROWS))
        if reason:
            tell(f"train.compile: the module runs uncompiled: {reason}")
        saver = Saver(Checkpoints(store, run.checkpoints, project.train.checkpoint.keep), place, plan.strategy, tell)
        training = Training(task, module, plan, place, tell)
        # Evaluating a sharded module takes all ranks; else it is rank 0's.
        judges = place.rank == 0 or plan.strategy == "fsdp"
        witness = Witness(task, project, training, place, sample.slice(0, COUNTED_ROWS))
        if project.train.profile:
            witness.profile_to(store, f"runs/{run.key}/profile")
        session = Session(training, place, saver, project.train.checkpoint, outside, tell, witness)
        try:
            session.run(feed, held_out if judges else None)
        finally:
            witness.end()
            release(module)  # Ray Train ends the group when this returns, and a fault's traceback holds the module


def open_rows(
    task: Task, schema: Schema, snapshot: Snapshot, project: Project, plan: Plan, place: Place
) -> tuple[Feed, Rows, Rows]:
    """What is trained on, what is held out, and a few rows to try things on."""
    if plan.input == "stream":
        parts = read_parts(snapshot, project)
        # A table that is not held in memory has more held-out rows than are needed.
        first = parts["validation"].first(schema.columns, MOST_HELD_OUT_ROWS)
        held_out = encode_rows(task, schema, first).to(place.device)
        return StreamFeed(parts["train"], task, schema, plan, place), held_out, held_out
    tables = part_tables(snapshot, project)
    held_out = encode_rows(task, schema, tables["validation"]).to(place.device)
    rows = encode_rows(task, schema, tables["train"]).to(place.device)
    del tables
    forget_tables()
    return MemoryFeed(rows, plan.batch_size, plan.seed, place), held_out, held_out


__all__ = ["STATE_FILE", "train_worker"]
