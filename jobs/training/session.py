"""A worker's way through a training: epochs, when to save, when to look round, when to stop; it knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist

from ...platform.project.training import CheckpointConfig
from .data import Rows
from .feed import Feed
from .loop import Training
from .plan import Place
from .saving import Saver

LOOK_S = 1.0  # ranks agree so often on whether to save; a look is a broadcast
FIRST_LOOK_STEP = 2  # of a try: from then on it is known how long a step takes
REPORT_S = 1.0  # Ray Train takes one report a poll, and a second one waits for it
LEAST_SAVE_S = 0.5  # an epoch that ends sooner after the last save than this is not saved, but for the last one


class Outside(Protocol):
    """What the cluster is to a training."""

    def begin(self) -> None:
        """Hear that the first step of this try is done."""
        ...

    def report(self, lines: list[tuple[int, Mapping[str, float]]]) -> None:
        """Tell finished epochs and their metrics; all ranks call it together."""
        ...

    def is_going_away(self) -> bool:
        """True where the node of a rank was told to end soon; all ranks call it together."""
        ...


class Alone:
    """No cluster: nothing is told, and nothing goes away."""

    def begin(self) -> None:
        """Tell nobody."""

    def report(self, lines: list[tuple[int, Mapping[str, float]]]) -> None:
        """Tell nobody."""

    def is_going_away(self) -> bool:
        """It stays."""
        return False


class Watcher(Protocol):
    """Who looks on; what it finds is told among the metrics, and nothing of the training changes."""

    def first_step_ended(self) -> None:
        """Hear that the first step of this try is done."""
        ...

    def epoch_begins(self) -> None:
        """Hear that the next steps are those of an epoch, or of the rest of one."""
        ...

    def epoch_ended(self, rows: int) -> Mapping[str, float]:
        """What was seen of an epoch of so many rows over all ranks."""
        ...

    def checkpoint(self) -> AbstractContextManager[None]:
        """Within, a checkpoint holds the training up."""
        ...


class Nobody:
    """Nobody looks on."""

    def first_step_ended(self) -> None:
        """Hear nothing."""

    def epoch_begins(self) -> None:
        """Hear nothing."""

    def epoch_ended(self, rows: int) -> Mapping[str, float]:  # noqa: ARG002
        """See nothing."""
        return {}

    def checkpoint(self) -> AbstractContextManager[None]:
        """Time nothing."""
        return nullcontext()


@dataclass
class Session:
    """Trains to the end on one rank; every rank has its own."""

    training: Training
    place: Place
    saver: Saver
    rule: CheckpointConfig
    outside: Outside
    say: Callable[[str], None] = lambda _: None
    watcher: Watcher = Nobody()
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._saved_s = self._reported_s = self.clock()
        self._look_step, self._looked_s, self._looked_step = FIRST_LOOK_STEP, self.clock(), 0
        self._steps = 0  # of this try
        self._is_going_away = False
        self._unreported: list[tuple[int, Mapping[str, float]]] = []

    def run(self, feed: Feed | Rows, held_out: Rows | None) -> None:
        """Train to the last epoch, from the newest checkpoint where there is one; returns when all is written."""
        training = self.training
        self.saver.restore(training)
        while not training.has_ended:
            self._looked_s, self._looked_step = self.clock(), self._steps  # a step takes no time of what lies between
            self.watcher.epoch_begins()
            metrics = {"train_loss": training.run_epoch(feed, self._after_step)}
            self._count_step()
            metrics |= self.watcher.epoch_ended(feed.count)
            if held_out is not None:
                metrics |= {f"validation_{name}": value for name, value in training.evaluate(held_out).items()}
            self._end_epoch(metrics)
        self.saver.wait()

    def _end_epoch(self, metrics: Mapping[str, float]) -> None:
        training = self.training
        training.history.append(dict(metrics))
        self._unreported.append((training.epoch, metrics))
        now_s = self.clock()
        is_due = training.epoch % self.rule.every_epochs == 0 and now_s - self._saved_s >= LEAST_SAVE_S
        is_report_due = now_s - self._reported_s >= REPORT_S
        # Rank 0 alone has metrics, a clock that counts, and a writer that may be busy.
        has_ended, factor, saves, reports = self._agree(
            training.has_ended,
            training.optimizer.plateau_factor,
            is_due and not self.saver.is_busy,
            is_report_due,
        )
        training.optimizer.plateau_factor = factor
        if has_ended:
            training.end()
        if has_ended or self._look() or saves or self._is_going_away:
            self._save(is_last=bool(has_ended), wait=self._is_going_away)
        if has_ended or reports:
            self.outside.report(self._unreported)
            self._unreported, self._reported_s = [], self.clock()

    def _after_step(self) -> None:
        self._count_step()
        if self._is_going_away:
            self._save(wait=True)  # each step may be the last
        elif self.rule.every_steps is not None and self.training.step % self.rule.every_steps == 0:
            self._save()
        elif self._look():
            self._save(wait=self._is_going_away)

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps == 1:
            self.watcher.first_step_ended()
            self.outside.begin()

    def _look(self) -> bool:
        """True where it is time to save: asked each second, for which ranks agree on a number of steps."""
        if self._steps < self._look_step:
            return False
        now_s, every_s = self.clock(), self.rule.every_seconds
        step_s = (now_s - self._looked_s) / max(1, self._steps - self._looked_step)
        is_due = every_s is not None and now_s - self._saved_s >= every_s and not self.saver.is_busy
        stride, saves = self._agree(max(1.0, LOOK_S // max(step_s, 1e-9)), is_due)
        self._look_step, self._looked_s, self._looked_step = self._steps + int(stride), now_s, self._steps
        was_going_away = self._is_going_away
        self._is_going_away = self.outside.is_going_away()
        if self._is_going_away and not was_going_away:
            self.say("a node is to go away: each step is written down from here on")
        return bool(saves) or self._is_going_away

    def _save(self, *, is_last: bool = False, wait: bool = False) -> None:
        with self.watcher.checkpoint():
            self.saver.save(self.training, is_last=is_last, wait=wait)
        self._saved_s = self.clock()

    def _agree(self, *values: float) -> list[Any]:
        """Rank 0's numbers, on every rank."""
        if self.place.world == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64).to(self.place.device)
        dist.broadcast(told, src=0)
        return list(told.tolist())
