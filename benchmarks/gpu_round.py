"""Trains one model in one way on one device, for as long as an epoch; what it took, in time and memory."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from gpu_cases import Case
from rayloop.jobs.training.data import Rows
from rayloop.jobs.training.flops import flops_per_row
from rayloop.jobs.training.loop import OutOfMemory, Place, Plan, Training, build_module
from rayloop.jobs.training.parallel import prepare_module
from rayloop.jobs.training.precision import set_tf32
from rayloop.platform.model.task import find_task

EPOCHS = 1_000_000  # more than any measurement takes: a plan's last step would end a schedule


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is trained."""

    name: str
    precision: str = "fp32"
    tf32: bool = False
    compile: bool = False
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """One epoch. Memory is what this training takes alone, its weights included; None on a CPU."""

    rows_per_s: float
    peak_bytes: int | None


class NotCompiled(Exception):
    """torch.compile did not work here."""


class Trained:
    """A model on its device, ready to train rounds."""

    def __init__(self, case: Case, way: Way, batch: int, device: torch.device) -> None:
        """Raises NotCompiled."""
        self._way, self._device = way, device
        set_tf32(way.tf32)
        plan = Plan(
            epochs=EPOCHS,
            batch_size=batch,
            learning_rate=1e-4,
            weight_decay=1e-4,
            precision=way.precision,
            seed=1,
            metric="accuracy",
            params=case.params,
            tf32=way.tf32,
            compile=way.compile,
            activation_checkpointing=way.recompute,
        )
        task, place = find_task(case.task), Place(device=device)
        sample = case.rows(2, device).slice(0, 2)
        module, reason = prepare_module(task, build_module(task, case.schema, plan), plan, place, sample)
        if reason:
            raise NotCompiled(reason)
        self.training = Training(task, module, plan, place)

    def round(self, rows: Rows) -> Round:
        """An epoch of rayloop's loop. Raises OutOfMemory."""
        set_tf32(self._way.tf32)
        is_cuda = self._device.type == "cuda"
        before = 0
        if is_cuda:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
        began_s = time.perf_counter()
        loss = self.training.run_epoch(rows)
        if is_cuda:
            torch.cuda.synchronize(self._device)
        spent_s = time.perf_counter() - began_s
        if not math.isfinite(loss):
            raise RuntimeError(f"{self._way.name}: the loss is {loss}, so what was timed is no training")
        peak = torch.cuda.max_memory_allocated(self._device) - before + self._held() if is_cuda else None
        self.training.optimizer.clear()  # gradients, which would lie beside the next way's
        return Round(rows.count / spent_s, peak)

    def _held(self) -> int:
        """Bytes of weights and of the optimizer's state, which lie there between rounds."""
        state = self.training.optimizer.torch.state.values()
        tensors = [value for each in state for value in each.values() if isinstance(value, torch.Tensor)]
        tensors += [*self.training.module.parameters(), *self.training.module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def model_flops(case: Case) -> float | None:
    """Operations of one row's forward and backward pass, without those that are done twice."""
    task = find_task(case.task)
    plan = Plan(1, 1, 1e-4, 0.0, "fp32", 1, "accuracy", case.params)
    with torch.device("meta"):  # shapes are enough
        module = build_module(task, case.schema, plan)
    return flops_per_row(task, module, case.rows(2, torch.device("cpu")).slice(0, 2))


def num_parameters(trained: Trained) -> int:
    """Numbers that are learnt."""
    return sum(parameter.numel() for parameter in trained.training.module.parameters())


def is_lack_of_memory(error: Exception) -> bool:
    """True where a model or its rows did not fit, at whatever moment that was seen."""
    return isinstance(error, (OutOfMemory, torch.OutOfMemoryError))
