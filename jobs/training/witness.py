"""Watches one training without touching it: the weights' hash after each epoch, times, throughput, the machine's load.

What it saw travels in the checkpoints, so it is the same after a lost worker; its report is `witness.json` of the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...platform.data import Store
from ...platform.model.task import Task
from ...platform.project import Project
from ...platform.registry import Tracker
from .data import Rows
from .fingerprint import fingerprint
from .flops import device_name, flops_per_row, peak_flops, utilisation
from .loop import Place
from .machine import LoadSampler, describe_machine
from .phases import PhaseTimer, all_reduce_s
from .profiler import StepProfiler

WITNESS_FILE = "witness.json"
COUNTED_ROWS = 256
DDP_SAMPLE_STEPS = 16


class Witness:
    """Rank 0 sees all of it; the other ranks have one that sees nothing and costs nothing."""

    def __init__(self, task: Task, project: Project, rows: Rows, module: nn.Module, place: Place) -> None:
        self._is_on = place.rank == 0
        self._place, self._rows, self._module = place, rows, module
        self.timer = PhaseTimer(place.device, every=16 if self._is_on else 0)
        self._seen: dict[str, Any] = {"machine": {}, "starts": [], "epochs": [], "initial": ""}
        if not self._is_on:
            return
        self._seen["machine"] = describe_machine()
        self._seen["deterministic"] = torch.are_deterministic_algorithms_enabled()
        self._seen["starts"] = [{"world": place.world, "epoch": 0, "at_s": time.time()}]
        self._seen["initial"] = fingerprint(_inner(module).state_dict())
        if isinstance(module, nn.parallel.DistributedDataParallel):
            module._set_ddp_runtime_logging_sample_rate(DDP_SAMPLE_STEPS)  # type: ignore[no-untyped-call]
        counted = rows.take(torch.arange(min(COUNTED_ROWS, rows.count), device=rows.target.device))
        self._flops = flops_per_row(task, _inner(module), counted)
        self._peak = peak_flops(device_name(place.device), project.train.precision)
        self._load = LoadSampler()
        self._began_s = time.perf_counter()
        self._profiler: StepProfiler | None = None

    def profile_to(self, store: Store, name: str) -> None:
        """Profile some steps of this training into a folder of the store."""
        if self._is_on:
            self._profiler = StepProfiler(store, name)
            self.timer.on_step.append(self._profiler.step)

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint's report: how often a training began, and with how many workers, is part of it."""
        if self._is_on and (folder / WITNESS_FILE).exists():
            before = json.loads((folder / WITNESS_FILE).read_text())
            again = {**self._seen["starts"][0], "epoch": len(before["epochs"])}
            self._seen |= {"epochs": before["epochs"], "initial": before["initial"]}
            self._seen["starts"] = [*before["starts"], again]

    def epoch_begins(self) -> None:
        """Begin to count the epoch's time."""
        self._began_s = time.perf_counter()

    def epoch_ended(self) -> dict[str, float]:
        """Take down the weights' hash; returns what was measured, as plain metrics whose names hold a `/`."""
        if not self._is_on:
            return {}
        spent_s = max(time.perf_counter() - self._began_s, 1e-9)
        rows_per_s = self._rows.count / spent_s
        number = len(self._seen["epochs"]) + 1
        weights = fingerprint(_inner(self._module).state_dict())
        self._seen["epochs"].append({"epoch": number, "sha256": weights, "world": self._place.world})
        found = {"time/epoch_s": spent_s, "rate/rows_per_s": rows_per_s, **self.timer.take(), **self._load.take()}
        if (reduced_s := all_reduce_s(self._module)) is not None:
            found["time/all_reduce_ms"] = 1000 * reduced_s
        if self._flops is not None:
            found["rate/flops_per_s"] = self._flops * rows_per_s
        share = utilisation(self._flops, rows_per_s, self._peak, self._place.world)
        return found if share is None else {**found, "rate/flops_utilisation": share}

    def checkpoint(self) -> AbstractContextManager[None]:
        """Time the writing of a checkpoint; it is told with the next epoch."""
        return self.timer.always("checkpoint")

    def save(self, folder: Path) -> None:
        """Lay the report into a checkpoint."""
        if self._is_on:
            (folder / WITNESS_FILE).write_text(json.dumps(self._seen, indent=1))

    def end(self) -> None:
        """Stop watching."""
        if self._is_on:
            self._load.stop()
            if self._profiler is not None:
                self._profiler.finish()


def log_witness(tracker: Tracker, folder: Path) -> None:
    """Keep a finished training's report in its run, out of the last checkpoint."""
    if not (folder / WITNESS_FILE).exists():
        return
    text = (folder / WITNESS_FILE).read_text()
    tracker.log_text(WITNESS_FILE, text)
    tracker.log_params({}, labels(json.loads(text)))


def labels(seen: Mapping[str, Any]) -> dict[str, str]:
    """Tags that say how a training ran: on how many workers, how often it began, whether it is repeatable."""
    worlds = [str(start["world"]) for start in seen["starts"]]
    tags = {"rayloop.world": worlds[-1], "rayloop.deterministic": str(seen.get("deterministic", False)).lower()}
    if len(worlds) > 1:
        tags["rayloop.resumed"] = str(len(worlds) - 1)
    if len(set(worlds)) > 1:
        tags["rayloop.elastic"] = " -> ".join(worlds)
    return tags


def _inner(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
