"""Owns how a loaded model is readied for a replica: on its GPU, compiled, by CUDA graphs, each where that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .artifact import LoadedModel
from .buckets import bucket_of, buckets
from .compiled import compile_module
from .device import Device, find_device
from .graph import Graph, record_graphs
from .schema import Schema
from .signature import Columns, Servable
from .task import Batch, Inputs, Task


@dataclass(frozen=True, slots=True)
class Placement:
    """What a replica was given, and what its model is to run by."""

    gpus: float = 0.0
    max_batch_rows: int = 256
    compile: bool = False
    cuda_graphs: bool = False


class PlacedTask:
    """A task whose predictions are made on a device: its tensors are on the host, as any task's are.

    Predictions are for one caller at a time.
    """

    def __init__(self, task: Task, device: Device, most_rows: int) -> None:
        self._task, self._device, self._most_rows = task, device, most_rows
        self._graphs: Mapping[int, Graph] = {}

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """As the task does."""
        return self._task.build(schema, params)

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """As the task does, on the host."""
        return self._task.encode(schema, columns)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """As the task does."""
        return self._task.loss(module, batch)

    def predict(self, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """What the task answers on the device, brought back once."""
        rows = len(next(iter(inputs.values())))
        with self._device.turn():
            graph = self._graphs.get(bucket_of(rows, self._most_rows))
            if graph is not None and graph.takes(inputs):
                return self._device.fetch(graph.run(inputs), rows)
            sent = {name: self._device.send(tensor) for name, tensor in inputs.items()}
            return self._device.fetch(self._task.predict(module, sent), rows)

    def use_graphs(self, module: nn.Module, example: Inputs) -> None:
        """Record a graph for each bucket, and answer by them from now on; raises as `record_graphs` does."""
        with torch.inference_mode(), self._device.turn():
            self._graphs = record_graphs(
                lambda inputs: self._task.predict(module, inputs), example, self._most_rows, self._device
            )


def place(model: Servable, wanted: Placement, device: Device | None = None) -> tuple[Servable, list[str]]:
    """Ready a model of ours; returns it and a sentence for each thing that can't be had, without which it serves.

    `device` stands in for the replica's GPU. A model of another kind is left to its own flavor.
    """
    if not isinstance(model, LoadedModel):
        return model, []
    faults: list[str] = []
    device = device or find_device(wanted.gpus)
    if device is None and wanted.gpus > 0:
        faults.append(f"runs on the CPU: serve.gpus is {wanted.gpus:g}, but torch sees no GPU here")
    if device is not None:
        model, fault = _on_device(model, device, wanted.max_batch_rows)
        faults += [f"runs on the CPU: {fault}"] if fault else []
    if wanted.compile and (fault := compile_module(model)):
        faults.append(f"runs uncompiled: {fault}")
    if isinstance(model.task, PlacedTask):
        if wanted.cuda_graphs and (fault := _by_graphs(model, model.task)):
            faults.append(f"runs without CUDA graphs: {fault}")
        for rows in buckets(wanted.max_batch_rows):  # as requests will be asked: kernels are chosen by the shape
            model.predict(model.example(rows))
    return model, faults


def _on_device(model: LoadedModel, device: Device, most_rows: int) -> tuple[LoadedModel, str]:
    """The model on the device, tried there; or as it was, and why."""
    placed = replace(model, task=PlacedTask(model.task, device, most_rows))
    try:
        device.take(model.module)
        for rows in (1, most_rows):
            placed.predict(placed.example(rows))
    except Exception as error:  # too little memory, or a task that makes tensors on the CPU: anything may come
        model.module.to("cpu")
        return model, _sentence(error)
    return placed, ""


def _by_graphs(model: LoadedModel, task: PlacedTask) -> str:
    try:
        task.use_graphs(model.module, task.encode(model.schema, model.example(1)))
    except Exception as error:
        return _sentence(error)
    return ""


def _sentence(error: BaseException) -> str:
    """The first line of what went wrong first: torch fails once more while it leaves a broken capture."""
    while error.__context__ is not None and not error.__suppress_context__:
        error = error.__context__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
