"""What each Ray Train worker runs: the epoch loop, a checkpoint and a report after each epoch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch

from ...platform.data import Store, open_snapshot
from ...platform.model.schema import Schema
from ...platform.model.task import find_task
from ...platform.project import Project
from .data import encode_rows, part_tables
from .determinism import set_determinism
from .loop import Place, Plan, Training, build_module
from .witness import COUNTED_ROWS, Witness

STATE_FILE = "state.pt"
NICENESS = 15  # what Ray gives its workers by default: a training gives way to answers on the same node


def train_worker(config: dict[str, Any]) -> None:
    """Train on this rank until the plan's last epoch, from the latest checkpoint where there is one."""
    os.nice(max(0, NICENESS - os.nice(0)))
    project = Project.model_validate(config["project"])
    schema = Schema.from_dict(config["schema"])
    plan = Plan(**config["plan"])
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    place = Place(context.get_world_rank(), context.get_world_size(), device)
    # Deterministic kernels: a run that loses a worker, or is repeated, ends with the same numbers.
    set_determinism(project.train.deterministic, device)

    task = find_task(project.task.use, Path.cwd())
    tables = part_tables(open_snapshot(Store(config["store"]), config["snapshot"]), project)
    rows = encode_rows(task, schema, tables["train"]).to(device)
    held_out = encode_rows(task, schema, tables["validation"]).to(device) if place.rank == 0 else None
    module = ray.train.torch.prepare_model(build_module(task, schema, plan))
    training = Training(task, module, plan, place)
    witness = Witness(task, project, training, place, rows.take(torch.arange(min(COUNTED_ROWS, rows.count))))
    if project.train.profile:
        witness.profile_to(Store(config["store"]), f"runs/{context.get_experiment_name()}/profile")
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            training.restore(torch.load(Path(folder) / STATE_FILE, map_location=device, weights_only=True))
    while training.epoch < plan.epochs:
        witness.epoch_begins()
        metrics: dict[str, float] = {"train_loss": training.run_epoch(rows), **witness.epoch_ended(rows.count)}
        if held_out is not None:
            metrics |= {f"validation_{name}": value for name, value in training.evaluate(held_out).items()}
        training.history.append(metrics)
        _report(training, metrics, place, witness)
    witness.end()


def _report(training: Training, metrics: dict[str, float], place: Place, witness: Witness) -> None:
    with tempfile.TemporaryDirectory(prefix="rayloop-checkpoint-") as folder:
        checkpoint = None
        if place.rank == 0:
            with witness.checkpoint():
                torch.save(training.state(), Path(folder) / STATE_FILE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"epoch": training.epoch, **metrics}, checkpoint=checkpoint)
