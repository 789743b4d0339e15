"""The epoch loop in plain torch: the same order of rows and the same steps, whatever the number of workers.

It knows no Ray, no MLflow and no files. Rank r of W takes every W-th row of each batch, and weighs its loss so
that the average over the ranks is the mean over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...platform.errors import RayloopError
from ...platform.model.task import Batch, Task
from ...platform.project import Project
from ...platform.validate import classification_metrics, is_better, regression_metrics
from .data import Rows
from .phases import PhaseTimer

PREDICT_ROWS = 65_536  # rows predicted at once: bounds memory, and is large enough to cost nothing


class TrainingDiverged(RayloopError):
    """The loss is no number any more."""

    exit_code = 1

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__(epoch, step)
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        return (
            f"the loss is NaN or infinite in epoch {self.epoch}, step {self.step}: lower train.learning_rate, or look "
            "for huge values in the features"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train, as plain values."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    precision: str
    seed: int
    metric: str
    params: Mapping[str, Any]

    @classmethod
    def of(cls, project: Project, overrides: Mapping[str, Any] | None = None) -> Plan:
        """The plan of a project file; `overrides` are a search's choices: fields of this plan, else task parameters."""
        train = project.train
        plan = cls(
            train.epochs,
            train.batch_size,
            train.learning_rate,
            train.weight_decay,
            train.precision,
            train.seed,
            project.metric,
            dict(project.task.params),
        )
        own = {"epochs", "batch_size", "learning_rate", "weight_decay"}
        given = dict(overrides or {})
        fields = {name: given.pop(name) for name in list(given) if name in own}
        return replace(plan, **fields, params={**plan.params, **given})


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among its peers."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")


class Training:
    """The state of one training: module, optimizer, epoch, and the best weights so far."""

    def __init__(self, task: Task, module: nn.Module, plan: Plan, place: Place) -> None:
        self._task = task
        self._plan = plan
        self._place = place
        self.module = module  # may be wrapped for data parallelism
        self._inner = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
        self._optimizer = torch.optim.AdamW(module.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        # A scaler is needed for fp16 alone, and exists on GPUs alone.
        self._scaler = torch.amp.GradScaler(
            place.device.type, enabled=plan.precision == "fp16" and place.device.type == "cuda"
        )
        self.timer = PhaseTimer(every=0)  # whoever wants times puts another one here
        self.kept: dict[str, Any] = {}  # plain values of whoever watches, which go through checkpoints
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.best_score: float | None = None
        self._best: dict[str, Tensor] = {}

    def run_epoch(self, rows: Rows) -> float:
        """Train one epoch; returns the mean loss over all rows and all ranks.

        Raises TrainingDiverged.
        """
        plan, place = self._plan, self._place
        self.module.train()
        order = torch.randperm(rows.count, generator=torch.Generator().manual_seed(mix(plan.seed, self.epoch)))
        order = order.to(place.device)
        torch.manual_seed(mix(plan.seed, self.epoch, place.rank + 1))  # dropout: the same after a resume
        total = torch.zeros((), device=place.device)
        for step, first in enumerate(range(0, rows.count, plan.batch_size)):
            places = order[first : first + plan.batch_size]
            loss = self._step(rows, places)
            if step % 50 == 0 and not torch.isfinite(loss):
                raise TrainingDiverged(self.epoch + 1, step + 1)
            total += loss.detach() * len(places)
        if place.world > 1:
            dist.all_reduce(total)
        mean = float(total) / place.world / rows.count
        if not math.isfinite(mean):
            raise TrainingDiverged(self.epoch + 1, math.ceil(rows.count / plan.batch_size))
        self.epoch += 1
        return mean

    def evaluate(self, rows: Rows) -> dict[str, float]:
        """Metrics of rows that are not trained on; remembers the weights where the plan's metric is best so far."""
        found = measure(self._task, self._inner, rows)
        score = found.get(self._plan.metric, math.nan)
        if is_better(self._plan.metric, score, self.best_score) or not self._best:
            self.best_score = score
            self._best = {name: tensor.detach().clone() for name, tensor in self._inner.state_dict().items()}
        return found

    def best_weights(self) -> dict[str, Tensor]:
        """The module's state where validation was best; the latest where it was never evaluated."""
        return self._best or dict(self._inner.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and plain values: `torch.load(weights_only=True)` reads it."""
        return {
            "module": self._inner.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "kept": self.kept,
            "best_score": self.best_score,
            "best": self._best,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state()`."""
        self._inner.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.epoch, self.history = state["epoch"], list(state["history"])
        self.kept = dict(state["kept"])
        self.best_score, self._best = state["best_score"], dict(state["best"])

    def _step(self, rows: Rows, places: Tensor) -> Tensor:
        place = self._place
        mine = places[place.rank :: place.world]
        # A rank that has no row of a short last batch still takes part, with a weight of zero.
        weight = len(mine) * place.world / len(places)
        self.timer.next_step()
        with self.timer.phase("data"):
            batch = rows.take(mine if len(mine) else places[:1])
        with self._autocast(), self.timer.phase("forward"):
            loss = self._task.loss(self.module, batch) * weight
        self._optimizer.zero_grad(set_to_none=True)
        with self.timer.phase("backward"):
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        with self.timer.phase("optimizer"):
            self._scaler.step(self._optimizer)
            self._scaler.update()
        return loss

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._plan.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self._plan.precision == "bf16" else torch.float16
        return torch.autocast(self._place.device.type, dtype=dtype)


def measure(task: Task, module: nn.Module, rows: Rows) -> dict[str, float]:
    """Hold-out metrics of a module, and its loss as `loss`."""
    was_training = module.training
    module.eval()
    answers: list[Tensor] = []
    losses = 0.0
    with torch.inference_mode():
        for first in range(0, rows.count, PREDICT_ROWS):
            batch = rows.take(torch.arange(first, min(first + PREDICT_ROWS, rows.count), device=rows.target.device))
            losses += float(task.loss(module, batch)) * len(batch.target)
            answers.append(_answer(task, module, batch))
    module.train(was_training)
    answer = torch.cat(answers).cpu().numpy()
    target = rows.target.cpu().numpy()
    found = regression_metrics(target, answer) if answer.ndim == 1 else classification_metrics(target, answer)
    return {**found, "loss": losses / rows.count}


def build_module(task: Task, schema: Any, plan: Plan) -> nn.Module:
    """A new module with seeded weights: every rank and every repetition begins with the same ones."""
    torch.manual_seed(plan.seed)
    return task.build(schema, plan.params)


def mix(*numbers: int) -> int:
    """One seed out of several numbers; near numbers give far seeds."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number + 0x632BE59BD9B4E019) % (1 << 63)
    return mixed


def _answer(task: Task, module: nn.Module, batch: Batch) -> Tensor:
    given = task.predict(module, batch.inputs)
    return given["probabilities"] if "probabilities" in given else given["prediction"]
