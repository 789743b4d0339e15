"""The processes of one trial: alone, or the first of several ranks with a GPU each, which die with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
import torch
import torch.distributed as dist
from torch import nn

from ...cluster.ports import free_port
from ...platform.errors import Unavailable
from ...platform.model.schema import Schema
from ...platform.model.task import find_task
from ..training.determinism import set_determinism
from ..training.loop import Place, Plan, Training, build_module
from ..training.parallel import release
from .rows import open_rows

# The first rank waits for Ray Tune between epochs, for as long as the driver is away.
TIMEOUT = timedelta(hours=24)
LAST_WORDS_S = 2.0

State = Mapping[str, Any]


class Group:
    """A trial's ranks. The first is this process; the others train the same epochs and report nothing."""

    def __init__(self, shared: Mapping[str, Any], plan: Plan, state: State | None) -> None:
        self._shared, self._plan, self._state = shared, plan, state
        self._ranks: list[Any] = []
        self._ends: list[Any] = []
        self._module: nn.Module | None = None
        self.world = int(shared["workers"])
        self.device = torch.device("cuda" if shared["gpus"] else "cpu")

    def __enter__(self) -> Group:
        if self.world == 1:
            return self
        address = f"tcp://{ray.util.get_node_ip_address()}:{free_port()}"
        remote = ray.remote(num_cpus=self._shared["cpus"], num_gpus=self._shared["gpus"])(Rank)
        self._ranks = [remote.remote() for _ in range(1, self.world)]
        arguments = (self._shared, self._plan, self._state, self.world, address)
        self._ends = [rank.train.remote(*arguments, number) for number, rank in enumerate(self._ranks, start=1)]
        _join(self.device, address, 0, self.world)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.world == 1:
            return
        try:
            if isinstance(error, Exception):
                self._raise_theirs()  # ours says no more than that a connection broke
        finally:
            for rank in self._ranks:
                ray.kill(rank)
            _leave(self._module)

    def training(self) -> Training:
        """This rank's training, where its state says that it is."""
        training = build_training(self._shared, self._plan, self._state, Place(0, self.world, self.device))
        self._module = training.module
        return training

    def _raise_theirs(self) -> None:
        ended, _ = ray.wait(self._ends, num_returns=len(self._ends), timeout=LAST_WORDS_S)
        for end in ended:
            ray.get(end)


class Rank:
    """A further rank of a trial, as an actor that the trial's own process owns."""

    def train(
        self, shared: Mapping[str, Any], plan: Plan, state: State | None, world: int, address: str, number: int
    ) -> None:
        """Train to the last epoch in step with the first rank."""
        device = torch.device("cuda" if shared["gpus"] else "cpu")
        _join(device, address, number, world)
        module = None
        try:
            training = build_training(shared, plan, state, Place(number, world, device))
            module = training.module
            _, rows, _ = open_rows(shared, str(device))
            while training.epoch < plan.epochs:
                training.run_epoch(rows)
        finally:
            _leave(module)  # the others notice


def build_training(shared: Mapping[str, Any], plan: Plan, state: State | None, place: Place) -> Training:
    """A rank's training: seeded weights, or those of the state."""
    set_determinism(shared["deterministic"], place.device)
    torch.set_num_threads(1)
    task = find_task(shared["use"], Path.cwd())
    module: nn.Module = build_module(task, Schema.from_dict(shared["schema"]), plan).to(place.device)
    if place.world > 1:
        module = nn.parallel.DistributedDataParallel(module)
    training = Training(task, module, plan, place)
    if state is not None:
        training.restore(state)
    return training


def _join(device: torch.device, address: str, rank: int, world: int) -> None:
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not dist.is_available():
        raise Unavailable("this torch has no torch.distributed, which search.gpus_per_trial above 1 needs")
    _leave(None)  # a group that an earlier trial in this process left
    dist.init_process_group(backend, init_method=address, rank=rank, world_size=world, timeout=TIMEOUT)


def _leave(module: nn.Module | None) -> None:
    if module is not None:
        release(module)
    if dist.is_initialized():
        dist.destroy_process_group()
