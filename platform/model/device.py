"""Owns where tensors lie and how they get there; on the CPU nothing is copied, pinned or queued.

No function here touches CUDA unless a device of it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

Call = Callable[[], Mapping[str, Tensor]]

# torch advises a few calls before a capture, in which libraries allocate what they keep.
_CALLS_BEFORE_CAPTURE = 3


class Device:
    """A device, and the one stream that all work on it goes through; for one caller at a time."""

    def __init__(self, name: str) -> None:
        self._device = torch.device(name)
        self._stream: Any = None
        self._pool: Any = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            self._pool = torch.cuda.graph_pool_handle()

    def __str__(self) -> str:
        return str(self._device)

    def bound_memory(self, share: float) -> None:
        """Let torch allocate no more than this share of the device's memory in this process."""
        if self._stream is not None:
            torch.cuda.set_per_process_memory_fraction(share, self._device)

    def take(self, module: nn.Module) -> None:
        """Move a module here, in place."""
        module.to(self._device)
        if self._stream is not None:
            torch.cuda.synchronize(self._device)  # the stream of ours doesn't wait for the one that copied

    def turn(self) -> AbstractContextManager[Any]:
        """What is called within goes through the stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def host_buffer(self, like: Tensor) -> Tensor:
        """Memory of the host, of the same shape and type, that can be copied from asynchronously."""
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=self._stream is not None)

    def send(self, tensor: Tensor) -> Tensor:
        """The tensor on this device; the copy may still be under way."""
        return tensor if self._stream is None else tensor.pin_memory().to(self._device, non_blocking=True)

    def resend(self, buffer: Tensor, to: Tensor) -> None:
        """Copy a host buffer to what `send` made of it; the copy may still be under way."""
        if self._stream is not None:
            to.copy_(buffer, non_blocking=True)

    def fetch(self, given: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """The first rows of each tensor on the host, and all work done: the one moment that waits."""
        if self._stream is None:
            return {name: tensor[:rows].clone() for name, tensor in given.items()}
        hosts = {}
        for name, tensor in given.items():
            hosts[name] = self.host_buffer(tensor[:rows])
            hosts[name].copy_(tensor[:rows], non_blocking=True)
        self._stream.synchronize()
        # Capture keeps answers until they are written; pinned memory must be free for the next request.
        return {name: host.clone() for name, host in hosts.items()}

    def record(self, call: Call) -> Call:
        """Capture a call as a CUDA graph; what is given runs it again, on the same memory, and gives the same tensors.

        Raises whatever torch does where the call waits for the device, as code does that asks a tensor's value.
        """
        if self._stream is None:
            return call
        for _ in range(_CALLS_BEFORE_CAPTURE):
            call()
        with _waiting_is_an_error():  # found here, it breaks no capture half way
            call()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = call()

        def replay() -> Mapping[str, Tensor]:
            graph.replay()
            return outputs

        return replay


def find_device(gpus: float) -> Device | None:
    """The GPU of a replica that was given some, its memory bounded where it has a share of one; None without any."""
    if gpus <= 0 or not torch.cuda.is_available():
        return None
    device = Device("cuda:0")  # Ray shows a process no other GPU than its own
    if gpus < 1:
        device.bound_memory(gpus)
    return device


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
