"""Puts a module on its device and among its peers: DDP or FSDP2, compiled, with activation checkpointing."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...platform.errors import InvalidInput
from ...platform.model.task import Batch, Task
from .plan import Place, Plan

_NEW, _OLD = "forward_sync_buffers", "broadcast_buffers"  # torch 2.13 warns of the old name
_SENDS_BUFFERS = _NEW if _NEW in inspect.signature(DistributedDataParallel.__init__).parameters else _OLD


def prepare_module(task: Task, module: nn.Module, plan: Plan, place: Place, sample: Batch) -> tuple[nn.Module, str]:
    """The module as `Training` takes it, and why it is not compiled although the plan says so, or nothing.

    `sample` is a batch of a few rows, the same on each rank.
    """
    module = module.to(place.device)
    if plan.activation_checkpointing:
        _checkpoint_activations(module)
    reason = _compile(task, module, sample) if plan.compile else ""
    if place.world == 1:
        return module, reason
    if plan.strategy == "fsdp":
        return shard(module), reason
    # Without it DDP sends every buffer in each step, and those that scale inputs never change.
    sends_buffers: dict[str, Any] = {_SENDS_BUFFERS: _buffers_change(task, module, sample)}
    devices = [place.device] if place.device.type == "cuda" else None
    wrapped = DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True, **sends_buffers)
    return wrapped, reason


def is_sharded(module: nn.Module) -> bool:
    """True where each process holds a part of the parameters."""
    return hasattr(module, "set_requires_gradient_sync")  # FSDP2's own; its import takes half a second


def inner(module: nn.Module) -> nn.Module:
    """The module that the task built."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def release(module: nn.Module) -> None:
    """Free what a module holds of its process group; it trains no more after that. Call it before the group ends.

    DDP's reducer holds the group too. Where it is freed last, whoever happens to free it joins gloo's thread while
    he holds the interpreter's lock, which that thread may wait for.
    """
    if isinstance(module, DistributedDataParallel):
        for name in ("logger", "reducer"):  # the logger holds the reducer
            module.__dict__.pop(name, None)


def gradients_stay(module: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
    """Within, gradients are added up and not exchanged, but for the last part of a step."""
    if isinstance(module, DistributedDataParallel) and not is_last:
        return module.no_sync()
    if is_sharded(module):
        module.set_requires_gradient_sync(is_last)  # type: ignore[operator]
    return nullcontext()


def shard(module: nn.Module) -> nn.Module:
    """FSDP2. A module may name its parts in `shards()`: each is gathered only while it computes."""
    from torch.distributed.fsdp import fully_shard

    named: Iterable[nn.Module] = getattr(module, "shards", tuple)()
    for part in named:
        fully_shard(part)
    fully_shard(module)  # in place
    return module


def _checkpoint_activations(module: nn.Module) -> None:
    for name in ("enable_activation_checkpointing", "gradient_checkpointing_enable"):
        if hasattr(module, name):
            getattr(module, name)()
            return
    raise InvalidInput(
        "train.activation_checkpointing is true, but the task's module has neither "
        "enable_activation_checkpointing() nor gradient_checkpointing_enable()"
    )


def _compile(task: Task, module: nn.Module, sample: Batch) -> str:
    """Compile in place, and try it; returns why it runs uncompiled, or nothing."""
    plain = module.forward
    torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())  # the compiler's own, too

    def forward(*inputs: Any, **named: Any) -> Any:
        """A frame of ours: torch skips those of its own modules, such as Sequential."""
        return plain(*inputs, **named)

    module.forward = torch.compile(forward)
    try:
        task.loss(module, sample).backward()  # type: ignore[no-untyped-call]
        module.zero_grad(set_to_none=True)
    except Exception as error:  # a missing compiler, or a module that torch can't trace: anything may come
        del module.forward
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return " ".join([f"{type(error).__name__}:", *lines[:1]])
    return ""


def _buffers_change(task: Task, module: nn.Module, sample: Batch) -> bool:
    """Whether a training step changes buffers, as batch normalization does."""
    if next(module.buffers(), None) is None:
        return False
    tried = copy.deepcopy(module).train()
    tried.forward = type(tried).forward.__get__(tried)  # not the compiled one, which is bound to the original
    before = {name: buffer.clone() for name, buffer in tried.named_buffers()}
    try:
        with torch.no_grad():
            task.loss(tried, sample)
    except Exception:
        return True  # it can't be tried so; to send them is right for any module
    return any(not torch.equal(buffer, before[name]) for name, buffer in tried.named_buffers())
