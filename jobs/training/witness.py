"""Watches one training without touching it: the weights' hash after each epoch, times, throughput, the machine's load.

What it saw travels in the training's own checkpoints, so it is the same after a lost worker; the run keeps it as
`witness.json`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...platform.data import Store
from ...platform.model.task import Batch, Task
from ...platform.project import Project
from .fingerprint import fingerprint
from .flops import device_name, flops_per_row, peak_flops, utilisation
from .loop import Place, Training
from .machine import LoadSampler, describe_machine
from .parallel import inner
from .phases import PhaseTimer, all_reduce_s

if TYPE_CHECKING:
    from ...platform.registry import Tracker  # MLflow, whose import a worker would wait for
    from .profiler import StepProfiler

WITNESS_FILE = "witness.json"
KEPT = "witness"  # its entry in `Training.kept`, which goes through checkpoints
COUNTED_ROWS = 256  # of the batch on which operations are counted
DDP_SAMPLE_STEPS = 16


class Witness:
    """Rank 0 sees all of it; the other ranks have one that sees nothing and costs nothing."""

    def __init__(self, task: Task, project: Project, training: Training, place: Place, sample: Batch) -> None:
        """`sample` is a few rows, on which a step's operations are counted."""
        self._is_on = place.rank == 0
        self._training, self._place = training, place
        training.timer = self.timer = PhaseTimer(place.device, every=16 if self._is_on else 0)
        self._profiler: StepProfiler | None = None
        self._has_begun = False
        self._is_whole = True
        if not self._is_on:
            return
        self._seen: dict[str, Any] = {
            "machine": describe_machine(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "initial": fingerprint(inner(training.module).state_dict()),
            "starts": [{"world": place.world, "epoch": 0, "at_s": time.time()}],
            "epochs": [],
        }
        if isinstance(training.module, nn.parallel.DistributedDataParallel):
            training.module._set_ddp_runtime_logging_sample_rate(DDP_SAMPLE_STEPS)  # type: ignore[no-untyped-call]
        self._task, self._sample = task, sample
        self._flops: float | None = None
        self._is_counted = False
        self._peak = peak_flops(device_name(place.device), project.train.precision, project.train.tf32)
        self._load = LoadSampler()
        self._began_s = time.perf_counter()

    def profile_to(self, store: Store, name: str) -> None:
        """Profile some steps of this training into a folder of the store."""
        if self._is_on:
            from .profiler import StepProfiler

            self._profiler = StepProfiler(store, name)
            self.timer.on_step.append(self._profiler.step)

    def first_step_ended(self) -> None:
        """Take down when this try took its first step."""
        if self._is_on:
            self._seen["starts"][-1]["first_step_s"] = time.time()

    def epoch_begins(self) -> None:
        """Begin to count the epoch's time; the first time, go on from what a restored checkpoint knew."""
        if self._is_on and not self._has_begun:
            if before := self._training.kept.get(KEPT):
                again = {**self._seen["starts"][0], "epoch": len(before["epochs"])}
                self._seen |= {"epochs": list(before["epochs"]), "initial": before["initial"]}
                self._seen["starts"] = [*before["starts"], again]
            self._keep()  # the first checkpoint may be in the middle of an epoch
        self._has_begun = True
        self._is_whole = self._training.step == 0
        self._began_s = time.perf_counter()

    def epoch_ended(self, rows: int) -> dict[str, float]:
        """Take down the weights' hash; returns what was measured, as plain metrics whose names hold a `/`.

        `rows` is how many rows all ranks together trained on in the epoch. Of an epoch that a restart began in the
        middle there is no speed.
        """
        if not self._is_on:
            return {}
        spent_s = max(time.perf_counter() - self._began_s, 1e-9)
        training = self._training
        weights = fingerprint(inner(training.module).state_dict())
        entry = {"epoch": training.epoch, "sha256": weights, "world": self._place.world}
        self._seen["epochs"].append({**entry, "accumulate": training.accumulate})
        self._keep()
        found = {**self.timer.take(), **self._load.take()}
        if (reduced_s := all_reduce_s(training.module)) is not None:
            found["time/all_reduce_ms"] = 1000 * reduced_s
        return {**found, **self._speed(rows, spent_s)} if self._is_whole else found

    def checkpoint(self) -> AbstractContextManager[None]:
        """Time what a checkpoint holds the training up; it is told with the next epoch."""
        return self.timer.always("checkpoint")

    def end(self) -> None:
        """Stop watching."""
        if self._is_on:
            self._load.stop()
            if self._profiler is not None:
                self._profiler.finish()

    def _keep(self) -> None:
        self._training.kept[KEPT] = {**self._seen, "epochs": list(self._seen["epochs"])}

    def _speed(self, rows: int, spent_s: float) -> dict[str, float]:
        if not self._is_counted:  # not before the first step, which would wait for it
            self._flops = flops_per_row(self._task, inner(self._training.module), self._sample)
            self._is_counted = True
        rows_per_s = rows / spent_s
        found = {"time/epoch_s": spent_s, "rate/rows_per_s": rows_per_s}
        if self._flops is not None:
            found["rate/flops_per_s"] = self._flops * rows_per_s
        share = utilisation(self._flops, rows_per_s, self._peak, self._place.world)
        return found if share is None else {**found, "rate/flops_utilisation": share}


def log_witness(tracker: Tracker, kept: Mapping[str, Any]) -> None:
    """Keep what a finished training's witness saw in its run; `kept` is that of the last checkpoint."""
    if seen := kept.get(KEPT):
        tracker.log_text(WITNESS_FILE, json.dumps(seen, indent=1))
        tracker.log_params({}, labels(seen))


def labels(seen: Mapping[str, Any]) -> dict[str, str]:
    """Tags that say how a training ran: on how many workers, how often it began, whether it is repeatable."""
    worlds = [str(start["world"]) for start in seen["starts"]]
    tags = {"rayloop.world": worlds[-1], "rayloop.deterministic": str(seen.get("deterministic", False)).lower()}
    if len(worlds) > 1:
        tags["rayloop.resumed"] = str(len(worlds) - 1)
    if len(set(worlds)) > 1:
        tags["rayloop.elastic"] = " -> ".join(worlds)
    return tags
