"""A fitted schema, a module with seeded weights, and tasks of a user's own, written to a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from rayloop.platform.model import task as task_module
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.tabular import TabularTask
from rayloop.platform.project import Project
from torch import nn

PARAMS = {"hidden": [8], "dropout": 0.5, "embedding": 4}

TASK = """
import torch
from torch import nn
from {neighbour} import VALUE

class {name}:
    def build(self, schema, params):
        return nn.Linear(1, 2)
    def encode(self, schema, columns):
        return {{"x": torch.zeros(len(next(iter(columns.values()))), 1)}}
    def loss(self, module, batch):
        return module(batch.inputs["x"]).sum()
    def predict(self, module, inputs):
        return {{"probabilities": torch.softmax(module(inputs["x"]) + VALUE, dim=1)}}
    def value(self):
        return VALUE
"""


@pytest.fixture
def schema(make_project: Callable[..., Project], make_table: Callable[..., pa.Table]) -> Schema:
    return fit_schema(make_table(), make_project(data={"key": "id"}))


@pytest.fixture
def make_module() -> Callable[..., nn.Module]:
    def make(schema: Schema, seed: int = 0, **params: Any) -> nn.Module:
        torch.manual_seed(seed)
        return TabularTask().build(schema, {**PARAMS, **params}).eval()

    return make


@pytest.fixture
def write_task(tmp_path: Path) -> Callable[..., Path]:
    def write(folder: str, value: float, module: str = "owntask", name: str = "Own") -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        neighbour = f"{module}_numbers"
        (path / f"{neighbour}.py").write_text(f"VALUE = {value}\n")
        (path / f"{module}.py").write_text(TASK.format(neighbour=neighbour, name=name))
        return path

    return write


@pytest.fixture
def own_imports() -> Iterator[None]:
    """Forget what a user's task imported, and where it was looked for."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    task_module._folders.clear()
    for name in set(sys.modules) - modules:
        if name.startswith("owntask"):
            del sys.modules[name]
