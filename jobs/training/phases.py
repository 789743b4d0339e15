"""Where a step's time goes, by phase; only some steps are timed, and the others pay for one comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch

EVERY_STEPS = 16
_UNTIMED: AbstractContextManager[None] = nullcontext()
T = TypeVar("T")


class PhaseTimer:
    """Times the phases of each `every`-th step; on a GPU those steps wait for it, or nothing would be seen.

    `next_step()` begins a step and `with timer.phase("forward"):` is a part of it, of which a step may have several.
    0 for `every` times nothing.
    """

    def __init__(self, device: torch.device | None = None, every: int = EVERY_STEPS) -> None:
        self._is_cuda = device is not None and device.type == "cuda"
        self._every = every
        self._step = 0
        self._is_timed = False
        self._step_phases: set[str] = set()
        self._sums_s: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self.on_step: list[Callable[[], None]] = []
        """Called at the begin of each step; a profiler counts steps so."""

    def next_step(self) -> None:
        """Begin the next step, and decide whether it is timed."""
        self._is_timed = self._every > 0 and self._step % self._every == 0
        self._step += 1
        self._step_phases.clear()
        for call in self.on_step:
            call()

    def steps(self, shares: Iterator[T]) -> Iterator[T]:
        """Begin a step with each share of rows; the wait for it is timed as `data` in every step.

        A feed makes the rows of many steps at once, so a few steps would not show what they cost.
        """
        while True:
            began_s = time.perf_counter()
            share = next(shares, None)
            if share is None:
                return
            if self._every > 0:
                self.add("data", time.perf_counter() - began_s)
            self.next_step()
            yield share

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a part of the step, where the step is timed."""
        return self._phase(name) if self._is_timed else _UNTIMED

    def always(self, name: str) -> AbstractContextManager[None]:
        """Time something that is no part of a step, such as a checkpoint, each time."""
        return self._timed(name) if self._every > 0 else _UNTIMED

    def add(self, name: str, spent_s: float) -> None:
        """Count a time that was measured elsewhere."""
        self._sums_s[name] = self._sums_s.get(name, 0.0) + spent_s
        self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The mean of each phase since it was last asked, as `time/<phase>_ms`."""
        found = {f"time/{name}_ms": 1000 * total / self._counts[name] for name, total in self._sums_s.items()}
        self._sums_s, self._counts, self._step = {}, {}, 0
        return found

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        with self._timed(name):
            yield
        if name in self._step_phases:  # a step in several parts counts as one
            self._counts[name] -= 1
        self._step_phases.add(name)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        self._wait()
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.add(name, time.perf_counter() - began_s)

    def _wait(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize()


def all_reduce_s(module: Any) -> float | None:
    """Seconds that the last sampled backward pass spent on averaging gradients; None outside data parallelism.

    It is what DistributedDataParallel measures of itself, every so many steps; most of it overlaps with the pass.
    """
    if not isinstance(module, torch.nn.parallel.DistributedDataParallel):
        return None
    try:
        data = module._get_ddp_logging_data()  # type: ignore[no-untyped-call]
    except (AttributeError, RuntimeError):
        return None
    nanoseconds = data.get("backward_comm_time", 0)
    return nanoseconds / 1e9 if nanoseconds else None
