"""Writes a trained module in other formats beside its own, and proves on real rows that they answer alike."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...platform.errors import RayloopError, Unavailable
from ...platform.model.artifact import LoadedModel
from ...platform.model.task import Inputs, Task

ONNX_FILE = "onnx/model.onnx"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MOST_DIFFERENCE = 1e-5
"""Of a probability; of a regression's answer, in shares of it where it is above 1."""
MOST_ROWS = 1_000
MARGINS = (1, 7)  # batch sizes that are tried beside all rows: a fixed one would not be seen otherwise


class ExportFailed(RayloopError):
    """A module can't be exported, or its export answers otherwise."""

    exit_code = 1


def require_exports(formats: Sequence[str]) -> None:
    """Raise Unavailable where a wanted format's packages are not installed: before a training, not after it."""
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None] if "onnx" in formats else []
    if missing:
        raise Unavailable(
            f"train.export has onnx, but {', '.join(missing)} is not installed: `pip install 'rayloop[onnx]'` adds it"
        )


def export_onnx(model: LoadedModel, inputs: Inputs, folder: Path) -> float:
    """Write `onnx/model.onnx` into a folder; returns the largest difference of its answers to real rows.

    Its inputs are the tensors that the task's `encode` makes, its outputs what `predict` gives; any number of rows.
    Raises ExportFailed where they differ by more than MOST_DIFFERENCE.
    """
    rows = {name: tensor[:MOST_ROWS] for name, tensor in inputs.items()}
    path = folder / ONNX_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        expected = {name: tensor.numpy() for name, tensor in model.task.predict(model.module, rows).items()}
        content = _to_onnx(model.task, model.module, rows, list(expected))
    path.write_bytes(content)
    difference = max(_difference(content, rows, expected, count) for count in (None, *MARGINS))
    if not difference <= MOST_DIFFERENCE:
        path.unlink()
        raise ExportFailed(
            f"the model as ONNX answers {len(next(iter(rows.values())))} real rows otherwise, by {difference:.3g}; "
            f"{MOST_DIFFERENCE:g} is allowed: leave onnx out of train.export"
        )
    return difference


class _Answering(nn.Module):
    """The task's answer as a module with plain tensors in and out."""

    def __init__(self, task: Task, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self._task, self._names = task, names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = self._task.predict(self.module, dict(zip(self._names, tensors, strict=True)))
        return tuple(given.values())


def _to_onnx(task: Task, module: nn.Module, rows: Inputs, outputs: Sequence[str]) -> bytes:
    names = list(rows)
    any_rows = torch.export.Dim("rows", min=1)
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # torch's own deprecations, and what it thinks of opsets
            program: Any = torch.onnx.export(
                _Answering(task, module, names).eval(),
                tuple(rows.values()),
                dynamo=True,
                input_names=names,
                output_names=list(outputs),
                dynamic_shapes=(tuple({0: any_rows} for _ in names),),
                verbose=False,
                external_data=False,
            )
            return _without_traces(program.model_proto)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ExportFailed(
            f"the module can't be written as ONNX: {reason[0] if reason else type(error).__name__}"
        ) from error
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _without_traces(proto: Any) -> bytes:
    """The model without the lines of code that it came from, which name this machine's folders and differ elsewhere."""
    for node in [
        proto,
        proto.graph,
        *proto.graph.node,
        *proto.graph.input,
        *proto.graph.output,
        *proto.graph.value_info,
    ]:
        del node.metadata_props[:]
        node.doc_string = ""
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _difference(content: bytes, rows: Inputs, expected: Mapping[str, NDArray[Any]], count: int | None) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    given = session.run(list(expected), {name: tensor[:count].numpy() for name, tensor in rows.items()})
    largest = 0.0
    for answer, wanted in zip(given, expected.values(), strict=True):
        apart = np.abs(answer.astype(np.float64) - wanted[:count]) / np.maximum(1.0, np.abs(wanted[:count]))
        largest = max(largest, float(apart.max(initial=0.0)) if np.isfinite(apart).all() else float("inf"))
    return largest
