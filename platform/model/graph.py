"""Owns one recorded call of a model at a fixed number of rows, and the buffers that it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..errors import RayloopError
from .buckets import bucket_of, buckets, fill, padded
from .device import Device
from .task import Inputs

Ask = Callable[[Inputs], Mapping[str, Tensor]]

# Of the largest answer: a device may add in another order where there are more rows; a model that mixes rows
# differs by far more.
_TOLERANCE = 1e-3


class Graph:
    """A call that was recorded once and runs again on the same memory; shorter batches are padded to its rows."""

    def __init__(self, ask: Ask, example: Inputs, rows: int, device: Device) -> None:
        """Record `ask` on rows like the first of `example`. Raises whatever it or the recording raises."""
        self._device = device
        self._hosts = {}
        for name, tensor in example.items():
            self._hosts[name] = device.host_buffer(padded(tensor[:1], rows))
            fill(self._hosts[name], tensor[:1])
        self._inputs = {name: device.send(host) for name, host in self._hosts.items()}
        self._replay = device.record(lambda: ask(self._inputs))

    def takes(self, inputs: Inputs) -> bool:
        """Whether these are tensors of the names, types and widths that were recorded."""
        return inputs.keys() == self._hosts.keys() and all(
            tensor.dtype == self._hosts[name].dtype and tensor.shape[1:] == self._hosts[name].shape[1:]
            for name, tensor in inputs.items()
        )

    def run(self, inputs: Inputs) -> Mapping[str, Tensor]:
        """Answer up to the recorded rows; the tensors given have all of them, and the next run overwrites them."""
        for name, tensor in inputs.items():
            fill(self._hosts[name], tensor)
            self._device.resend(self._hosts[name], self._inputs[name])
        return self._replay()


class MixedRows(RayloopError):
    """A model whose answer to a row depends on the rows beside it, so that padding would change it."""

    def __init__(self, name: str, rows: int, bucket: int) -> None:
        super().__init__(name, rows, bucket)
        self.name, self.rows, self.bucket = name, rows, bucket

    def __str__(self) -> str:
        return f"{self.name!r} of {self.rows} rows is another where they are padded to {self.bucket}"


def record_graphs(ask: Ask, example: Inputs, most_rows: int, device: Device) -> dict[int, Graph]:
    """One graph for each bucket, each proved on a padded batch; the largest is first, as all share its memory.

    Raises MixedRows, or whatever the model or the recording raises.
    """
    graphs = {}
    for bucket in buckets(most_rows):
        graph = graphs[bucket] = Graph(ask, example, bucket, device)
        rows = next(rows for rows in range(1, bucket + 1) if bucket_of(rows, most_rows) == bucket)
        trial = {name: _varied(padded(tensor[:1], rows)) for name, tensor in example.items()}
        # Fetched at once: the next run writes into the same memory.
        found = device.fetch(graph.run(trial), rows)
        wanted = device.fetch(ask({name: device.send(tensor) for name, tensor in trial.items()}), rows)
        for name, tensor in wanted.items():
            if not _is_like(found[name], tensor):
                raise MixedRows(name, rows, bucket)
    return graphs


def _is_like(found: Tensor, wanted: Tensor) -> bool:
    one, other = found.double(), wanted.double()
    allowed = _TOLERANCE * float(other.nan_to_num(0, 0, 0).abs().max())
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=allowed, equal_nan=True)


def _varied(tensor: Tensor) -> Tensor:
    """Rows that differ: equal ones would hide that a model mixes them. Of whole numbers every second row is 0."""
    along_rows = (-1, *[1] * (tensor.dim() - 1))
    if tensor.is_floating_point():
        steps = torch.linspace(-1, 1, len(tensor), dtype=tensor.dtype).reshape(along_rows)
        return tensor * (1 + steps) + steps
    return tensor * (torch.arange(len(tensor)) % 2 == 0).to(tensor.dtype).reshape(along_rows)
