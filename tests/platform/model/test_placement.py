"""A placed model answers as the loaded one, on whatever device, padded or not; what can't be had is said.

The device is the CPU here, where the same code runs without streams and pinned memory; tests marked `gpu` run it
on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.platform.model import placement
from rayloop.platform.model.artifact import LoadedModel
from rayloop.platform.model.device import Device
from rayloop.platform.model.placement import PlacedTask, Placement, place
from rayloop.platform.model.schema import Feature, Schema, Target, table_columns
from rayloop.platform.model.signature import Columns
from rayloop.platform.model.tabular import TabularTask
from torch import Tensor, nn

MOST_ROWS = 100
ROWS = (1, 2, 3, 7, 63, 64, 65, 99, 100, 101, 150)  # within, at and beyond the buckets
GRAPHS = Placement(gpus=0.5, max_batch_rows=MOST_ROWS, cuda_graphs=True)
PLAIN = Placement(gpus=0.5, max_batch_rows=MOST_ROWS)

MakeModel = Callable[..., LoadedModel]


class Mixing(TabularTask):
    """Answers a row by how it differs from those beside it."""

    def predict(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        scores = module(inputs)
        return {"probabilities": torch.softmax(scores - scores.mean(dim=0), dim=1)}


class HostBound(TabularTask):
    """Looks at a value before it goes on, and is right on any device, but never within a CUDA graph."""

    def predict(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = super().predict(module, inputs)["probabilities"]
        return {"probabilities": given if given.sum().item() > 0 else given * 0}


class Away(Device):
    """A device that no module can be moved to."""

    def take(self, module: nn.Module) -> None:
        raise RuntimeError("CUDA out of memory\nand much advice")


@pytest.fixture
def make_model(schema: Schema, make_module: Callable[..., nn.Module]) -> MakeModel:
    def make(task: TabularTask | None = None, *, of: Schema = schema) -> LoadedModel:
        return LoadedModel(of, task or TabularTask(), make_module(of), of.signature(), "")

    return make


@pytest.fixture
def columns(make_table: Callable[..., pa.Table]) -> Columns:
    return table_columns(make_table(200, seed=3), ["age", "income", "city"])


def first(columns: Columns, rows: int) -> Columns:
    return {name: values[:rows] for name, values in columns.items()}


def assert_alike(model: Any, other: Any, columns: Columns, rtol: float = 1e-6) -> None:
    for rows in ROWS:
        found, wanted = model.predict(first(columns, rows)), other.predict(first(columns, rows))
        assert found.keys() == wanted.keys()
        assert found["prediction"].tolist() == wanted["prediction"].tolist()
        np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("wanted", [PLAIN, GRAPHS])
def test_the_answers_are_those_of_the_loaded_model(make_model: MakeModel, columns: Columns, wanted: Placement) -> None:
    placed, faults = place(make_model(), wanted, Device("cpu"))
    assert faults == []
    assert isinstance(placed, LoadedModel)
    assert isinstance(placed.task, PlacedTask)
    assert_alike(placed, make_model(), columns)


def test_regression_is_placed_too(make_model: MakeModel) -> None:
    features = (Feature("a", "numeric", "FP32", 5.0, 2.0),)
    schema = Schema(features, Target("y", "FP64", mean=1e6, std=3.0))
    placed, faults = place(make_model(of=schema), GRAPHS, Device("cpu"))
    assert faults == []
    values = {"a": np.linspace(-3, 9, 37, dtype=np.float32)}
    wanted = make_model(of=schema).predict(values)["prediction"]
    np.testing.assert_allclose(placed.predict(values)["prediction"], wanted, rtol=1e-6)


def test_graphs_pad_to_the_bucket_and_longer_requests_are_not_padded(make_model: MakeModel, columns: Columns) -> None:
    asked: list[int] = []

    class Counting(TabularTask):
        def predict(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            asked.append(len(inputs["numeric"]))
            return super().predict(module, inputs)

    placed, faults = place(make_model(Counting()), GRAPHS, Device("cpu"))
    assert faults == []
    asked.clear()
    for rows in (1, 3, 64, 65, 100, 101):
        assert len(placed.predict(first(columns, rows))["prediction"]) == rows
    assert asked == [1, 4, 64, 100, 100, 101]
    asked.clear()
    plain, _ = place(make_model(Counting()), PLAIN, Device("cpu"))
    assert set(asked) == {1, 2, 4, 8, 16, 32, 64, 100}  # warmed by what serving will ask
    plain.predict(first(columns, 3))
    assert asked[-1] == 3


def test_an_answer_stays_as_it_was_when_the_next_one_comes(make_model: MakeModel, columns: Columns) -> None:
    placed, _ = place(make_model(), GRAPHS, Device("cpu"))
    answer = placed.predict(first(columns, 3))
    kept = answer["probabilities"].copy()
    placed.predict({name: values[100:103] for name, values in columns.items()})
    assert answer["probabilities"].tolist() == kept.tolist()


def test_a_model_that_mixes_rows_is_not_padded(make_model: MakeModel, columns: Columns) -> None:
    placed, faults = place(make_model(Mixing()), GRAPHS, Device("cpu"))
    assert len(faults) == 1
    assert faults[0].startswith("runs without CUDA graphs: MixedRows: 'probabilities' of 65 rows is another where")
    assert_alike(placed, make_model(Mixing()), columns)


def test_inputs_of_another_shape_than_the_example_are_answered_without_a_graph(make_model: MakeModel) -> None:
    class Wider(TabularTask):
        def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
            wide = 3 if (columns["age"] > 1e3).any() else 2
            return {"x": torch.from_numpy(np.stack([columns["age"]] * wide, axis=1)).float()}

        def predict(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            score = inputs["x"].sum(dim=1) / 1e4
            return {"probabilities": torch.stack([1 - score, score], dim=1)}

    placed, faults = place(make_model(Wider()), GRAPHS, Device("cpu"))
    assert faults == []
    assert placed.predict({"age": np.array([2e3])})["probabilities"][0, 1] == pytest.approx(0.6)
    assert placed.predict({"age": np.array([1e2])})["probabilities"][0, 1] == pytest.approx(0.02)


def test_a_module_that_fits_no_device_serves_on_the_cpu(make_model: MakeModel, columns: Columns) -> None:
    placed, faults = place(make_model(), GRAPHS, Away("cpu"))
    assert faults == ["runs on the CPU: RuntimeError: CUDA out of memory"]
    assert isinstance(placed, LoadedModel)
    assert isinstance(placed.task, TabularTask)
    assert_alike(placed, make_model(), columns)


def test_without_a_gpu_it_serves_on_the_cpu_and_says_so_once(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = make_model()
    placed, faults = place(model, GRAPHS)
    assert placed is model
    assert faults == ["runs on the CPU: serve.gpus is 0.5, but torch sees no GPU here"]


def test_a_replica_without_a_gpu_asks_nothing_of_cuda(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise AssertionError("nobody asked for a GPU")

    monkeypatch.setattr(torch.cuda, "is_available", refuse)
    model = make_model()
    placed, faults = place(model, Placement())
    assert placed is model
    assert faults == []


def test_compiling_is_as_it_was(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "compile_module", lambda model: "no compiler")
    for device in (None, Device("cpu")):
        _, faults = place(make_model(), Placement(compile=True), device)
        assert faults == ["runs uncompiled: no compiler"]


def test_a_foreign_model_is_left_alone() -> None:
    foreign: Any = object()
    assert place(foreign, GRAPHS, Away("cpu")) == (foreign, [])


@pytest.fixture
def needs_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


@pytest.mark.gpu
@pytest.mark.usefixtures("needs_gpu")
@pytest.mark.parametrize("wanted", [PLAIN, GRAPHS])
def test_a_gpu_answers_as_the_cpu(make_model: MakeModel, columns: Columns, wanted: Placement) -> None:
    placed, faults = place(make_model(), wanted)
    assert faults == []
    assert isinstance(placed, LoadedModel)
    assert {tensor.device.type for tensor in placed.module.state_dict().values()} == {"cuda"}
    assert_alike(placed, make_model(), columns, rtol=1e-4)
    answer = placed.predict(first(columns, 3))
    kept = answer["probabilities"].copy()
    placed.predict({name: values[100:103] for name, values in columns.items()})
    assert answer["probabilities"].tolist() == kept.tolist()


@pytest.mark.gpu
@pytest.mark.usefixtures("needs_gpu")
def test_control_flow_by_values_is_no_graph_and_serves_on(make_model: MakeModel, columns: Columns) -> None:
    placed, faults = place(make_model(HostBound()), GRAPHS)
    assert len(faults) == 1
    assert faults[0].startswith("runs without CUDA graphs: ")
    assert isinstance(placed, LoadedModel)
    assert {tensor.device.type for tensor in placed.module.state_dict().values()} == {"cuda"}
    assert_alike(placed, make_model(HostBound()), columns, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.usefixtures("needs_gpu")
def test_a_compiled_module_goes_into_graphs(make_model: MakeModel, columns: Columns) -> None:
    placed, faults = place(make_model(), Placement(0.5, MOST_ROWS, compile=True, cuda_graphs=True))
    assert faults == []
    assert_alike(placed, make_model(), columns, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.usefixtures("needs_gpu")
def test_a_share_of_a_gpu_bounds_its_memory(make_model: MakeModel) -> None:
    _, faults = place(make_model(), Placement(gpus=0.1))
    assert faults == []
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(int(total * 0.2), dtype=torch.uint8, device="cuda")
        assert torch.empty(int(total * 0.02), dtype=torch.uint8, device="cuda").is_cuda
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
