"""A compiled module answers as before, and one that cannot be compiled is left as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rayloop.platform.model.compiled import compile_module
from torch import nn


def eager(module: Any, _inputs: Any) -> Any:
    """A backend that compiles nothing: what torch has traced, as it is."""
    return module.forward


class Model:
    """Sums of a column by a module of torch's own, which torch alone would not compile."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)).eval()

    def example(self, rows: int) -> dict[str, Any]:
        return {"x": np.linspace(-1, 1, rows, dtype=np.float32)}

    def predict(self, columns: Any) -> dict[str, Any]:
        with torch.inference_mode():
            return {"y": self.module(torch.from_numpy(columns["x"]).unsqueeze(1)).numpy()}


@pytest.fixture
def compiled_graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Compiles with a backend of the test's own, which needs no C++ compiler; counts its graphs."""
    graphs: list[int] = []
    plain = torch.compile

    def backend(module: Any, inputs: Any) -> Any:
        graphs.append(1)
        return eager(module, inputs)

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: plain(function, dynamic=dynamic, backend=backend))
    return graphs


def test_the_answers_are_the_same_for_any_number_of_rows(compiled_graphs: list[int]) -> None:
    model = Model()
    before = [model.predict(model.example(rows))["y"] for rows in (1, 2, 7, 64)]
    assert compile_module(model) == ""
    num_graphs = len(compiled_graphs)
    assert num_graphs > 0
    after = [model.predict(model.example(rows))["y"] for rows in (1, 2, 7, 64)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert len(compiled_graphs) == num_graphs  # no compiling is left for the first real requests


def test_without_a_compiler_the_module_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    before = model.predict(model.example(5))["y"]

    def no_compiler(_module: Any, _inputs: Any) -> Any:
        raise RuntimeError("no working C++ compiler found\nmany more lines")

    plain = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic: plain(function, dynamic=dynamic, backend=no_compiler)
    )
    fault = compile_module(model)
    assert "no working C++ compiler found" in fault
    assert "\n" not in fault
    assert "forward" not in vars(model.module)
    assert model.predict(model.example(5))["y"].tobytes() == before.tobytes()


def test_a_model_without_a_module_says_so() -> None:
    assert compile_module(object()) == "it has no torch module"  # type: ignore[arg-type]
