"""The epoch loop in plain torch: the same rows and the same steps, whatever the number of workers.

It knows no Ray, no MLflow and no files. Each rank weighs the loss of its rows so that the average over the ranks is
the mean over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...platform.errors import RayloopError
from ...platform.model.task import Batch, Task, quantile_levels
from .average import Average
from .data import Rows
from .feed import Feed, MemoryFeed, Share
from .optimizer import Optimizer
from .parallel import gradients_stay, inner, is_sharded
from .phases import PhaseTimer
from .plan import Place, Plan, mix

PREDICT_ROWS = 8_192  # at once: 30 numbers in 48 pieces each take 47 MiB, several times; and more are no faster
SETTLE_STEPS = 64  # losses are looked at so often: a look waits for the device


class TrainingDiverged(RayloopError):
    """The loss is no number any more."""

    exit_code = 1

    def __init__(self, epoch: int, step: int, columns: str = "") -> None:
        super().__init__(epoch, step, columns)
        self.epoch, self.step, self.columns = epoch, step, columns

    def __str__(self) -> str:
        where = f"the loss is NaN or infinite in epoch {self.epoch}, step {self.step}: lower train.learning_rate, or "
        return where + (f"mend {self.columns}" if self.columns else "look for huge values in the features")


class OutOfMemory(RayloopError):
    """A step does not fit."""

    exit_code = 1

    def __init__(self, epoch: int, step: int, rows: int, parts: int) -> None:
        super().__init__(epoch, step, rows, parts)
        self.epoch, self.step, self.rows, self.parts = epoch, step, rows, parts

    def __str__(self) -> str:
        return (
            f"memory does not suffice for {self.rows} rows at once, in epoch {self.epoch}, step {self.step}: raise "
            "train.accumulate, set train.allow_smaller_batch to true, or lower train.batch_size"
        )


class NoRoom(RayloopError):
    """What a training needs besides the rows of a step does not fit."""

    exit_code = 1

    def __str__(self) -> str:
        return (
            "memory does not suffice for the module, its optimizer and the rows: set train.input to stream, "
            "train.strategy to fsdp, or train on a larger machine"
        )


class Training:
    """The state of one training: module, optimizer, place in the epoch, and the best weights so far."""

    def __init__(
        self, task: Task, module: nn.Module, plan: Plan, place: Place, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._task, self._plan, self._place, self._say = task, plan, place, say
        self.module = module  # may be wrapped for data parallelism
        self._inner = inner(module)
        self.optimizer = Optimizer(module.parameters(), plan, place.device)
        self.average = None if plan.ema is None else Average(self._inner, plan.ema)
        self.timer = PhaseTimer(every=0)  # whoever wants times puts another one here
        self.kept: dict[str, Any] = {}  # plain values of whoever watches, which go through checkpoints
        self.epoch = 0
        self.step = 0  # steps done in this epoch
        self.accumulate = plan.accumulate
        self.history: list[dict[str, float]] = []
        self.best_score: float | None = None
        self._best: dict[str, Tensor] = {}
        self._epochs_without_better = 0
        self._is_ended = False
        weights = plan.weights_by_class
        self._by_class_K = torch.tensor(weights, device=place.device) if weights else None
        self._total = 0.0  # of this rank's losses in this epoch, each times the rows of its batch
        self._pending: list[tuple[Tensor, int]] = []

    def run_epoch(self, rows: Rows | Feed, after_step: Callable[[], None] = lambda: None) -> float:
        """Train an epoch to its end; returns the mean loss over all its rows and all ranks.

        `after_step` is called after each step but the last. Raises TrainingDiverged or OutOfMemory.
        """
        plan, place = self._plan, self._place
        feed = MemoryFeed(rows, plan.batch_size, plan.seed, place) if isinstance(rows, Rows) else rows
        steps = math.ceil(feed.count / plan.batch_size)
        done, due = self.epoch * steps, plan.epochs * steps
        generator = _generator(place.device)
        seed = mix(plan.seed, self.epoch)
        self.module.train()
        for share in self.timer.steps(feed.shares(self.epoch, self.step)):
            # Dropout is the same after a resume, wherever that was.
            generator.manual_seed(mix(seed, self.step, place.rank + 1))
            loss = self._step(share)
            with self.timer.phase("optimizer"):
                self.optimizer.apply(done + self.step, due)
                if self.average is not None:
                    self.average.follow()
            self._pending.append((loss, share.of))
            self.step += 1
            if self.step % SETTLE_STEPS == 0:
                self._settle()
            if self.step < steps:
                after_step()
        self._settle()
        total = torch.tensor(self._total, dtype=torch.float64).to(place.device)
        if place.world > 1:
            dist.all_reduce(total)
        self.epoch, self.step, self._total = self.epoch + 1, 0, 0.0
        return float(total) / place.world / feed.count

    def evaluate(self, rows: Rows) -> dict[str, float]:
        """Metrics of rows that are not trained on; remembers the weights where the plan's metric is best so far."""
        from ...platform.validate import is_better  # scikit-learn takes a second to import: the first step goes first

        with self._as_kept():
            found = measure(self._task, self.module if is_sharded(self.module) else self._inner, rows)
            score = found.get(self._plan.metric, math.nan)
            is_first = self.best_score is None
            if is_better(self._plan.metric, score, self.best_score) or is_first:
                is_much = is_first or abs(score - float(self.best_score or 0)) > self._plan.min_delta
                self.best_score = score
                self._best = whole_state(self._inner)
            else:
                is_much = False
        self._epochs_without_better = 0 if is_much else self._epochs_without_better + 1
        self.optimizer.see_epochs_without_better(self._epochs_without_better)
        return found

    @property
    def has_ended(self) -> bool:
        """True after the last epoch, and where the plan's patience is over."""
        patience = self._plan.patience
        is_over = patience is not None and self._epochs_without_better >= patience
        return self.epoch >= self._plan.epochs or is_over or self._is_ended

    def end(self) -> None:
        """Train no further: rank 0 found that the patience is over."""
        self._is_ended = True

    def best_weights(self) -> dict[str, Tensor]:
        """The module's state where validation was best; the latest where it was never evaluated."""
        if self._best:
            return self._best
        with self._as_kept():
            return whole_state(self._inner)

    def tensors(self) -> dict[str, Any]:
        """What is parted over ranks where the module is: parameters, their averages, the optimizer's state."""
        return {
            "module": self._inner.state_dict(),
            "optimizer": self.optimizer.torch.state_dict(),
            "average": {} if self.average is None else self.average.state(),
        }

    def progress(self) -> dict[str, Any]:
        """All that is small, and the best weights; `losses` has one number for each rank that told."""
        self._settle()
        return {
            **self.optimizer.rest(),
            "epoch": self.epoch,
            "step": self.step,
            "accumulate": self.accumulate,
            "losses": [self._total],
            "history": self.history,
            "kept": dict(self.kept),
            "best_score": self.best_score,
            "best": self._best,
            "epochs_without_better": self._epochs_without_better,
            "is_ended": self._is_ended,
        }

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and plain values: `torch.load(weights_only=True)` reads it."""
        return {**self.tensors(), **self.progress()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state()`."""
        self._inner.load_state_dict(state["module"])
        self.optimizer.torch.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.restore(state["average"])
        self.restore_progress(state)

    def restore_progress(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `progress()`."""
        self.optimizer.restore_rest(state)
        self.epoch, self.step = state["epoch"], state["step"]
        self.accumulate = max(self.accumulate, state["accumulate"])
        self.history, self._pending = list(state["history"]), []
        self.kept = dict(state["kept"])
        self.best_score, self._best = state["best_score"], dict(state["best"])
        self._epochs_without_better = state["epochs_without_better"]
        self._is_ended = state["is_ended"]
        losses, place = state["losses"], self._place
        if len(losses) == place.world:
            self._total = losses[place.rank]
        else:  # another number of ranks: the mean over them stays the same
            self._total = sum(losses) / len(losses) * place.world if place.rank == 0 else 0.0

    def _step(self, share: Share) -> Tensor:
        """Gradients of a step; its loss, weighed."""
        while True:
            self.optimizer.clear()
            try:
                return self._gradients(share)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                at_once = math.ceil(share.rows / self.accumulate)
                if not is_lack_of_memory(error):
                    raise
                # With several ranks the others wait within this step: only a restart brings all to the same.
                if not self._plan.allow_smaller_batch or at_once <= 1 or self._place.world > 1:
                    raise OutOfMemory(self.epoch + 1, self.step + 1, at_once, self.accumulate) from None
            self.accumulate *= 2
            self._say(f"memory does not suffice for {at_once} rows at once: going on with {math.ceil(at_once / 2)}")
            if self._place.device.type == "cuda":
                torch.cuda.empty_cache()

    def _gradients(self, share: Share) -> Tensor:
        if self.accumulate == 1:
            with self._autocast(), gradients_stay(self.module, is_last=True):
                loss = self._weighed(share.batch, share.rows, share.of)
            with self.timer.phase("backward"):
                self.optimizer.backward(loss)
            return loss.detach()
        total = torch.zeros((), device=self._place.device)
        for place, (batch, rows) in enumerate(_parts(share, self.accumulate)):
            with self._autocast(), gradients_stay(self.module, is_last=place == self.accumulate - 1):
                loss = self._weighed(batch, rows, share.of)
                with self.timer.phase("backward"):
                    self.optimizer.backward(loss)
            total += loss.detach()
        return total

    def _weighed(self, batch: Batch, rows: int, of: int) -> Tensor:
        if self._by_class_K is not None:
            batch = replace(batch, weight=self._by_class_K[batch.target])
        with self.timer.phase("forward"):
            loss = self._task.loss(self.module, batch)
        weight = rows * self._place.world / of
        return loss if weight == 1 else loss * weight

    def _settle(self) -> None:
        """Look at the losses since the last look; in the same order of sums wherever looks fall."""
        if not self._pending:
            return
        losses = torch.stack([loss for loss, _ in self._pending]).tolist()
        bad = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        if self._place.world > 1:
            bad = _least(bad, self._place)
        if bad < len(losses):
            raise TrainingDiverged(self.epoch + 1, self.step - len(losses) + bad + 1)
        for loss, (_, rows) in zip(losses, self._pending, strict=True):
            self._total += loss * rows
        self._pending = []

    def _as_kept(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.average is None else self.average.in_place()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._plan.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self._plan.precision == "bf16" else torch.float16
        return torch.autocast(self._place.device.type, dtype=dtype)


def measure(task: Task, module: nn.Module, rows: Rows | Iterable[Rows]) -> dict[str, float]:
    """Hold-out metrics of a module, and its loss as `loss`; of rows in pieces nothing but answers and targets stays."""
    from ...platform.validate import metrics_of

    was_training = module.training
    module.eval()
    answers: list[dict[str, Tensor]] = []
    targets: list[Tensor] = []
    losses = 0.0
    try:
        for piece in [rows] if isinstance(rows, Rows) else rows:
            loss, given = _answers(task, module, piece)
            losses += loss
            answers += given
            targets.append(piece.target)
    finally:
        module.train(was_training)
    joined = {name: torch.cat([answer[name] for answer in answers]).cpu().numpy() for name in answers[0]}
    target = torch.cat(targets).cpu().numpy()
    return {**metrics_of(target, joined, quantile_levels(module)), "loss": losses / len(target)}


def _answers(task: Task, module: nn.Module, rows: Rows) -> tuple[float, list[dict[str, Tensor]]]:
    """The sum of the rows' losses, and their answers; where memory lacks, of fewer rows at once."""
    at_once = PREDICT_ROWS
    while True:
        try:
            return _answers_by(task, module, rows, at_once)
        except (MemoryError, RuntimeError) as error:
            # The ranks of a sharded module compute together: one alone can't begin again.
            if not is_lack_of_memory(error) or at_once <= 1 or is_sharded(module):
                raise
            at_once = min(at_once, rows.count) // 2 or 1


def _answers_by(task: Task, module: nn.Module, rows: Rows, at_once: int) -> tuple[float, list[dict[str, Tensor]]]:
    losses, answers = 0.0, []
    # FSDP gathers parameters, which inference mode would mark as its own for ever.
    with torch.no_grad() if is_sharded(module) else torch.inference_mode():
        for first in range(0, rows.count, at_once):
            batch = rows.slice(first, first + at_once)
            losses += float(task.loss(module, batch)) * len(batch.target)
            answers.append(task.predict(module, batch.inputs))
    return losses, answers


def build_module(task: Task, schema: Any, plan: Plan) -> nn.Module:
    """A new module with seeded weights: every rank and every repetition begins with the same ones."""
    torch.manual_seed(plan.seed)
    return task.build(schema, plan.params)


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state, gathered where it is parted; all ranks must ask then."""
    state = module.state_dict()
    return {
        name: (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()
        for name, tensor in state.items()
    }


def _least(number: int, place: Place) -> int:
    """The least of the ranks' numbers. One rank's loss is the first to be none, and all must name the same step."""
    told = torch.tensor(float(number)).to(place.device)
    dist.all_reduce(told, op=dist.ReduceOp.MIN)
    return int(told)


def _parts(share: Share, parts: int) -> Iterator[tuple[Batch, int]]:
    """A share in so many parts; ranks must have equally many, so one without rows has a row that counts 0."""
    for part in range(parts):
        first, end = (share.rows * place // parts for place in (part, part + 1))
        rows, end = end - first, max(end, first + 1)
        inputs = {name: tensor[first:end] for name, tensor in share.batch.inputs.items()}
        yield Batch(inputs, share.batch.target[first:end]), rows


def _generator(device: torch.device) -> torch.Generator:
    """The generator that dropout draws from; `torch.manual_seed` seeds all there are, which takes 80 us."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        found: torch.Generator = torch.cuda.default_generators[device.index or 0]
        return found
    return torch.default_generator


def is_lack_of_memory(error: BaseException) -> bool:
    """True where a host or a GPU had not as much memory as was asked for."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


__all__ = [
    "NoRoom",
    "OutOfMemory",
    "Place",
    "Plan",
    "Training",
    "TrainingDiverged",
    "build_module",
    "is_lack_of_memory",
    "measure",
    "mix",
]
