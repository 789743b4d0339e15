"""A fitted schema, a module with seeded weights, one problem for each built-in task, and tasks of a user's own."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from rayloop.platform.model import task as task_module
from rayloop.platform.model.contract import Trial
from rayloop.platform.model.schema import Schema, fit_schema, framed, table_columns
from rayloop.platform.model.tabular import TabularTask
from rayloop.platform.model.task import Task, find_task
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


@dataclass(frozen=True)
class Problem:
    """A project and its training rows, as the task means them."""

    project: Project
    table: pa.Table
    schema: Schema
    task: Task

    @classmethod
    def make(cls, table: pa.Table, target: str, use: str, **sections: Any) -> Problem:
        task, data = sections.pop("task", {}), sections.pop("data", {})
        project = Project.model_validate(
            {
                "name": "toy",
                "data": {"source": "data.parquet", "target": target, **data},
                "task": {"use": use, **task},
                **sections,
            }
        )
        rows = framed(table, project)
        return cls(project, rows, fit_schema(rows, project), find_task(use))

    def columns(self, rows: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        names = [feature.name for feature in self.schema.features]
        return table_columns(self.table.slice(0, rows), names)

    def target(self, rows: int | None = None) -> np.ndarray[Any, Any]:
        return self.schema.encode_target(self.table.slice(0, rows).column(self.schema.target.name))

    def build(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.task.build(self.schema, self.project.task.params)

    def trial(self, rows: int = 12, task: Task | None = None) -> Trial:
        use, params = self.project.task.use, self.project.task.params
        return Trial(use, task or self.task, self.schema, params, self.columns(rows), self.target(rows))


def build_mixed(rows: int = 40) -> pa.Table:
    """A number with gaps, a constant, a flag, a time and a text; classes, labels and a value to predict."""
    random = np.random.default_rng(3)
    number = random.normal(5.0, 2.0, rows)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "number": pa.array(number, mask=random.uniform(size=rows) < 0.2),
            "constant": np.full(rows, 7),
            "flag": random.uniform(size=rows) < 0.5,
            "at": pa.array([None if row == 3 else begin + timedelta(hours=7 * row) for row in range(rows)]),
            "city": pa.array([["Bonn", "Ulm", None][row % 3] for row in range(rows)]),
            "three": random.integers(0, 3, rows),
            "labels": [["high"] * (value > 5) + ["low"] * (value < 6) for value in number.tolist()],
            "marks": pa.array(
                [[bool(value > 5), bool(value < 6), True] for value in number.tolist()], pa.list_(pa.bool_(), 3)
            ),
            "value": 100 + 10 * number,
        }
    )


TARGETS = ["three", "labels", "marks", "value"]


def mixed(target: str, use: str = "tabular", **task: Any) -> Problem:
    return Problem.make(build_mixed(), target, use, task=task, data={"ignore": [t for t in TARGETS if t != target]})


def encoded_picture(size: tuple[int, int], mode: str, value: int, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(value).integers(0, 120, shape) + 120 * (value % 2)
    Image.fromarray(pixels.astype(np.uint8)).save(content, format=form)
    return content.getvalue()


def pixels(rows: int = 24, **task: Any) -> Problem:
    """Flat grey images, bright on the left or on the right."""
    random, label = np.random.default_rng(5), np.arange(rows) % 2
    images = random.integers(0, 60, (rows, 8, 8)).astype(np.uint8)
    images[label == 1, :, :4] += 150
    images[label == 0, :, 4:] += 150
    column = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), 64)
    task = {**task, "params": {"shape": [8, 8], **task.get("params", {})}}
    return Problem.make(pa.table({"pixels": column, "label": label}), "label", "image", task=task)


def pictures(mode: str = "RGB", text: bool = False) -> Problem:
    found: list[Any] = [encoded_picture((9, 7), mode, row, ["PNG", "JPEG"][row % 2]) for row in range(16)]
    values = [base64.b64encode(value).decode() for value in found] if text else found
    table = pa.table({"photo": values, "label": ["a", "b"] * 8})
    return Problem.make(table, "label", "image", task={"params": {"flip": True}})


def texts(rows: int = 24, **params: Any) -> Problem:
    said = [["what a good film", "bad, very bad", "", "Grün is good"][row % 4] for row in range(rows)]
    table = pa.table({"said": said, "label": [row % 4 != 1 for row in range(rows)]})
    return Problem.make(table, "label", "sequence", task={"params": {"length": 20, "width": 16, **params}})


def series(key: bool = False, rows: int = 80, **params: Any) -> Problem:
    place = np.arange(rows)
    table = pa.table(
        {
            "at": pa.array(place * 3600, pa.timestamp("s")),
            "shop": np.where(place % 2, "b", "a"),
            "sold": 50 + 10 * np.sin(place / 4) + place / 10,
            "heat": pa.array(np.cos(place / 4), mask=place % 9 == 0),
        }
    )
    task = {"kind": "regression", "params": {"window": 8, "horizon": 3, "hidden": [16], **params}}
    data = {"time": "at", **({"key": "shop"} if key else {"split": {"by": "time"}, "ignore": ["shop"]})}
    return Problem.make(table, "sold", "forecast", task=task, data=data)


LEVELS = [0.1, 0.5, 0.9]
PROBLEMS: dict[str, Callable[[], Problem]] = {
    "classes": lambda: mixed("three"),
    "linear": lambda: mixed("three", params={"model": "linear"}),
    "ranks": lambda: mixed("three", params={"numbers": "quantile"}),
    "labels": lambda: mixed("labels", kind="multilabel"),
    "marks": lambda: mixed("marks", kind="multilabel"),
    "value": lambda: mixed("value", kind="regression"),
    "quantiles": lambda: mixed("value", kind="regression", params={"quantiles": LEVELS}),
    "pixels": pixels,
    "pixels-vit": lambda: pixels(params={"model": "vit", "width": 16, "depth": 1, "patch": 3}),
    "pictures": pictures,
    "pictures-grey-text": lambda: pictures("L", text=True),
    "bytes": texts,
    "words": lambda: texts(tokens="words", vocabulary=5),
    "forecast": series,
    "forecast-linear": lambda: series(key=True, model="linear"),
    "forecast-quantiles": lambda: series(quantiles=LEVELS),
    "forecast-next": lambda: series(horizon=1, stride=2),
}


@pytest.fixture(params=list(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> Problem:
    """Each of the problems in turn."""
    return PROBLEMS[request.param]()


@pytest.fixture
def make_problem() -> Callable[[str], Problem]:
    return lambda name: PROBLEMS[name]()
