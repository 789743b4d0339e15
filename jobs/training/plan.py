"""How to train, as plain values, and where a process stands among its peers; it trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ...platform.project import Project

# What a search may choose; every other name that it proposes is a parameter of the task.
SEARCHED = frozenset(
    {
        "epochs",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "optimizer",
        "momentum",
        "schedule",
        "warmup_steps",
        "clip_norm",
        "ema",
    }
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the numbers of a training; the fields are those of the project file's `train`."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    precision: str
    seed: int
    metric: str
    params: Mapping[str, Any]
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "constant"
    warmup_steps: int = 0
    accumulate: int = 1
    allow_smaller_batch: bool = False
    clip_norm: float | None = None
    ema: float | None = None
    tf32: bool = False
    compile: bool = False
    activation_checkpointing: bool = False
    strategy: str = "ddp"
    patience: int | None = None
    min_delta: float = 0.0
    input: str = "memory"
    shuffle_rows: int = 262_144
    weights_by_class: tuple[float, ...] = ()
    """What a row of each class counts in the loss; empty where all count alike."""

    @classmethod
    def of(cls, project: Project, overrides: Mapping[str, Any] | None = None) -> Plan:
        """The plan of a project file; `overrides` are a search's choices: fields of this plan, else task parameters."""
        train = project.train
        taken = {field.name: getattr(train, field.name) for field in fields(cls) if hasattr(train, field.name)}
        stop = train.early_stopping
        taken |= {"metric": project.metric, "params": dict(project.task.params)}
        taken |= {} if stop is None else {"patience": stop.patience, "min_delta": stop.min_delta}
        taken["input"] = "stream" if train.input == "stream" else "memory"
        plan = cls(**taken)
        given = dict(overrides or {})
        chosen = {name: given.pop(name) for name in list(given) if name in SEARCHED}
        return replace(plan, **chosen, params={**plan.params, **given})


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among its peers."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")


def mix(*numbers: int) -> int:
    """One seed out of several numbers; near numbers give far seeds."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number + 0x632BE59BD9B4E019) % (1 << 63)
    return mixed
