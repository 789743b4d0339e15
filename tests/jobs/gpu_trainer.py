"""Trains small models on one device in a process of its own, deterministically, and prints what came of them.

Usage: gpu_trainer.py DEVICE whole|resumed|sharded FOLDER; it needs torch, and neither Ray nor MLflow. cuBLAS reads the
variable that makes it deterministic once in a process, so the tests can't do it in theirs.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.data import Rows
from rayloop.jobs.training.determinism import set_determinism
from rayloop.jobs.training.loop import Place, Plan, Training, build_module, whole_state
from rayloop.jobs.training.parallel import inner, prepare_module, shard
from rayloop.jobs.training.precision import set_tf32
from rayloop.jobs.training.saving import Saver
from rayloop.platform.data import Store
from rayloop.platform.model.schema import Feature, Schema, Target
from rayloop.platform.model.task import find_task

COUNT, BATCH, STOP_AT = 120, 24, 7  # five steps an epoch; stopped within the second
TARGET = Target("y", "INT64", classes=(0, 1, 2))
NUMBERS = tuple(Feature(f"x{place}", "numeric", "FP32") for place in range(5))
COLOR = Feature("color", "categorical", "BYTES", categories=("blue", "red"))
MODELS: Mapping[str, tuple[Schema, Mapping[str, Any]]] = {
    "tabular": (Schema((*NUMBERS, COLOR), TARGET), {"hidden": [16], "dropout": 0.2}),
    "image": (
        Schema((Feature("p", "array", "FP32", shape=(12, 12)),), TARGET),
        {"widths": [8, 16], "dropout": 0.2, "shift": 1, "flip": True},
    ),
    "sequence": (
        Schema((Feature("t", "text", "BYTES", shape=(16,)),), TARGET),
        {"length": 16, "width": 16, "depth": 2, "heads": 2, "dropout": 0.2},
    ),
}


class Stopped(Exception):
    """The training is left in the middle of an epoch."""


def plan_of(name: str, **changed: Any) -> Plan:
    """How a model is trained."""
    given: dict[str, Any] = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.01, "weight_decay": 1e-4, "seed": 1}
    return Plan(**{**given, "precision": "fp32", "metric": "accuracy", "params": MODELS[name][1], **changed})


def rows_of(name: str) -> Rows:
    """Rows of three classes that can be told apart."""
    generator = torch.Generator().manual_seed(4)
    target = torch.arange(COUNT) % 3
    noise = torch.randn(COUNT, 5, generator=generator)
    if name == "tabular":
        color = torch.randint(0, 3, (COUNT, 1), generator=generator)
        return Rows({"numeric": noise + target[:, None], "categorical": color}, target)
    if name == "image":
        pixels = torch.randn(COUNT, 1, 12, 12, generator=generator) + target.view(-1, 1, 1, 1)
        return Rows({"pixels": pixels}, target)
    tokens = torch.randint(1, 60, (COUNT, 16), generator=generator) + 60 * target[:, None]
    tokens[:, 12:] = 0  # padding
    return Rows({"tokens": tokens.int()}, target)


def begin(name: str, plan: Plan, place: Place) -> Training:
    """A training of a model, not begun."""
    task = find_task(name)
    sample = rows_of(name).to(place.device).slice(0, 2)
    module, reason = prepare_module(task, build_module(task, MODELS[name][0], plan), plan, place, sample)
    assert not reason, reason
    return Training(task, shard(module) if plan.strategy == "fsdp" else module, plan, place)


def finish(name: str, training: Training, plan: Plan, place: Place) -> dict[str, Any]:
    """Train to the end of the plan: the hash of all weights, and the loss of the last epoch."""
    rows, loss = rows_of(name).to(place.device), 0.0
    while training.epoch < plan.epochs:
        loss = training.run_epoch(rows)
    state = whole_state(inner(training.module))
    content = b"".join(state[key].cpu().numpy().tobytes() for key in sorted(state))
    return {"sha256": hashlib.sha256(content).hexdigest(), "loss": loss}


def stop(name: str, training: Training, saver: Saver, place: Place) -> None:
    """Train to a step within an epoch, and write a checkpoint there."""
    rows, done = rows_of(name).to(place.device), 0

    def after_step() -> None:
        nonlocal done
        done += 1
        if training.epoch == 1 and training.step == STOP_AT - COUNT // BATCH:
            saver.save(training, wait=True)
            raise Stopped

    training.run_epoch(rows, after_step)
    try:
        training.run_epoch(rows, after_step)
    except Stopped:
        saver.wait()


def whole(name: str, place: Place, folder: Path) -> dict[str, Any]:
    """A training that nothing happens to."""
    plan = plan_of(name)
    return finish(name, begin(name, plan, place), plan, place)


def resumed(name: str, place: Place, folder: Path, **changed: Any) -> dict[str, Any]:
    """A training that is left within an epoch, and gone on with by another, from the checkpoint."""
    plan = plan_of(name, **changed)
    saver = Saver(Checkpoints(Store(str(folder)), name), place, plan.strategy)
    stop(name, begin(name, plan, place), saver, place)
    torch.manual_seed(99)
    again = begin(name, plan, place)
    assert saver.restore(again)
    assert (again.epoch, again.step) == (1, STOP_AT - COUNT // BATCH)
    return finish(name, again, plan, place)


def sharded(name: str, place: Place, folder: Path) -> dict[str, Any]:
    """The same by FSDP2 among one process, and by its checkpoint."""
    return resumed(name, place, folder, strategy="fsdp")


WAYS: Mapping[str, Callable[[str, Place, Path], dict[str, Any]]] = {
    "whole": whole,
    "resumed": resumed,
    "sharded": sharded,
}


def main(device_name: str, way: str, folder: Path) -> None:
    """Train each model; print one line of JSON."""
    device = torch.device(device_name)
    set_determinism(True, device)
    set_tf32(False)
    if way == "sharded":
        is_cuda = device.type == "cuda"
        if is_cuda:
            torch.cuda.set_device(device)
        backend = "nccl" if is_cuda else "gloo"
        dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=0, world_size=1)
    print(json.dumps({name: WAYS[way](name, Place(device=device), folder) for name in MODELS}))
    if way == "sharded":
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
