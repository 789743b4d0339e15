"""What a trial runs: the epoch loop with a report and a checkpoint after each epoch; its faults are reports too."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.exceptions
import ray.tune
import torch

from ...platform.data import Store
from ...platform.errors import RayloopError
from ...platform.project import Project
from ..training.loop import Plan, Training, TrainingDiverged
from .board import CONFIG
from .group import Group
from .rows import open_rows
from .trial import DIVERGED, FAILED

STATE_FILE = "state.pt"
NICENESS = 15  # a trial gives way to answers on the same node


class NoScore(RayloopError):
    """The first objective is no number on the validation rows, so trials can't be compared."""


def run_trial(config: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    """One trial. What fails in Python would fail again and is reported; a process that dies is started again by Ray."""
    os.nice(max(0, NICENESS - os.nice(0)))
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # else a line for each checkpoint
    try:
        _train(config, shared)
    except (ray.exceptions.RayError, OSError):
        raise
    except TrainingDiverged as error:
        _end(DIVERGED, str(error))
    except RayloopError as error:
        _end(FAILED, str(error))
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        _end(FAILED, f"{type(error).__name__}: {lines[0] if lines else 'no message'}")


def _train(config: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    given = config[CONFIG]
    meter = Meter(shared["workers"] * shared["gpus"])
    plan = plan_of(Project.model_validate_json(shared["project"]), shared, given["settings"])
    state = latest_state(given["checkpoint"], shared["store"])
    with Group(shared, plan, None if state is None else with_plan(state, plan)) as group:
        _, rows, held_out = open_rows(shared, str(group.device))
        training = group.training()
        while training.epoch < plan.epochs:
            metrics = {"train_loss": training.run_epoch(rows)}
            metrics |= {f"validation_{name}": value for name, value in training.evaluate(held_out).items()}
            training.history.append(metrics)
            _report(training, plan.metric, metrics, meter)


def plan_of(project: Project, shared: Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """How a trial trains: the project with the trial's settings; the first objective chooses its best epoch."""
    plan = Plan.of(project, {"epochs": shared["epochs"], **settings})
    return replace(plan, metric=shared["objective"], weights_by_class=tuple(shared["weights_by_class"]))


def with_plan(state: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """A training's state with the optimizer's settings of this plan: a population's trials take over others' states."""
    groups = [
        {**group, "lr": plan.learning_rate, "weight_decay": plan.weight_decay}
        for group in state["optimizer"]["param_groups"]
    ]
    return {**state, "optimizer": {**state["optimizer"], "param_groups": groups}}


def latest_state(checkpoint: str, store: str) -> dict[str, Any] | None:
    """Where the trial goes on: what Ray hands over, else what an earlier driver left; None at the beginning."""
    found = ray.tune.get_checkpoint()
    if found is None and checkpoint:
        found = ray.tune.Checkpoint(checkpoint, Store(store).filesystem)
    return None if found is None else read_state(found)


def read_state(checkpoint: Any) -> dict[str, Any]:
    """The training's state in a checkpoint, on the CPU: `restore` brings it where the training is."""
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
    return state


class Meter:
    """Counts what a trial costs from one report to the next."""

    def __init__(self, gpus: float) -> None:
        self._gpus = gpus
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    def read(self) -> dict[str, float]:
        """CPU time of the process and its threads, GPUs times seconds, and seconds, since the last look."""
        cpu_s, wall_s = time.process_time(), time.monotonic()
        spent = {"cpu_seconds": cpu_s - self._cpu_s, "wall_seconds": wall_s - self._wall_s}
        self._cpu_s, self._wall_s = cpu_s, wall_s
        return {**spent, "gpu_seconds": spent["wall_seconds"] * self._gpus}


def _report(training: Training, metric: str, metrics: dict[str, float], meter: Meter) -> None:
    name = f"validation_{metric}"
    score = training.best_score
    if score is None or not math.isfinite(score):
        raise NoScore(f"{metric} is no number on the validation rows in epoch {training.epoch}")
    kept = next(found for found in training.history if found.get(name) == score)
    with tempfile.TemporaryDirectory(prefix="rayloop-checkpoint-") as folder:
        torch.save(training.state(), Path(folder) / STATE_FILE)
        report: dict[str, Any] = {"epoch": training.epoch, "score": score, "current": metrics.get(name, score)}
        report |= {"metrics": dict(metrics), "kept": dict(kept), **meter.read()}
        ray.tune.report(report, checkpoint=ray.tune.Checkpoint.from_directory(folder))


def _end(outcome: str, why: str) -> None:
    # Ray wants its metric in each report; the board looks at nothing but the outcome.
    ray.tune.report({"ended": outcome, "why": why, "epoch": 0, "score": math.nan, "current": math.nan})
