"""Sends windows of rows to a GPU while the one before is trained on; it reads nothing and chooses no row.

The reading thread pins a window and queues its copy on a stream of its own; the training's stream waits for that copy
alone, and only where the window is first used. On any other device rows go as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .data import Rows


class Side(Protocol):
    """A queue of copies to a device, beside the one that computes."""

    def pin(self, tensor: Tensor) -> Tensor:
        """The same in memory of the host that can be copied from asynchronously."""
        ...

    def copy(self, pinned: Tensor) -> Tensor:
        """The same on the device; the copy may still be under way."""
        ...

    def mark(self) -> Any:
        """A mark behind the copies so far."""
        ...

    def wait(self, mark: Any) -> None:
        """Let what is computed from here on begin after a mark; the caller goes on at once."""
        ...

    def keep(self, copied: Tensor) -> None:
        """Give a tensor's memory to no later copy before what is computed by then is done."""
        ...


class CudaSide:
    """A CUDA stream for copies. `pin`, `copy` and `mark` are the reading thread's, the others the training's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def pin(self, tensor: Tensor) -> Tensor:
        """See Side. torch keeps the memory until copies from it are done, and uses it again."""
        return tensor.pin_memory()

    def copy(self, pinned: Tensor) -> Tensor:
        """See Side."""
        with torch.cuda.stream(self._stream):
            return pinned.to(self._device, non_blocking=True)

    def mark(self) -> torch.cuda.Event:
        """See Side."""
        mark: torch.cuda.Event = self._stream.record_event()
        return mark

    def wait(self, mark: torch.cuda.Event) -> None:
        """See Side."""
        torch.cuda.current_stream(self._device).wait_event(mark)

    def keep(self, copied: Tensor) -> None:
        """See Side. The memory belongs to the stream of copies, which knows nothing of other streams' use."""
        copied.record_stream(torch.cuda.current_stream(self._device))


@dataclass(frozen=True, slots=True)
class Sent:
    """Rows on their way, and the mark behind them where they are not there yet."""

    rows: Rows
    mark: Any = None


class Prefetch:
    """Sends windows from one thread to a device, and hands them over on another."""

    def __init__(self, device: torch.device, side: Side | None = None) -> None:
        self._device = device
        self._side = CudaSide(device) if side is None and device.type == "cuda" else side

    def send(self, rows: Rows) -> Sent:
        """Begin to copy; the reading thread's."""
        side = self._side
        if side is None:
            return Sent(rows.to(self._device))
        inputs = {name: side.copy(side.pin(tensor)) for name, tensor in rows.inputs.items()}
        target = side.copy(side.pin(rows.target))
        return Sent(Rows(inputs, target), side.mark())

    def receive(self, sent: Sent) -> Rows:
        """The rows, to be computed with from here on; the training's thread."""
        if self._side is not None:
            self._side.wait(sent.mark)
            for tensor in (*sent.rows.inputs.values(), sent.rows.target):
                self._side.keep(tensor)
        return sent.rows
