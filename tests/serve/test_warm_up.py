"""A version that can't answer ordinary rows is found out before it gets traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from rayloop.platform.model.artifact import LoadedModel
from rayloop.platform.model.schema import Feature, Schema, Target
from rayloop.platform.model.tabular import TabularTask
from rayloop.serve.warm_up import Unusable, warm_up

FEATURES = (Feature("age", "numeric", "FP32", 40.0, 5.0), Feature("job", "categorical", "BYTES", categories=("a", "b")))
SCHEMA = Schema(FEATURES, Target("y", "INT64", (0, 1)))


def _model(task: TabularTask | None = None) -> LoadedModel:
    task = task or TabularTask()
    torch.manual_seed(0)
    return LoadedModel(SCHEMA, task, task.build(SCHEMA, {"hidden": [4]}).eval(), SCHEMA.signature(), "")


def test_a_sound_model_is_warmed() -> None:
    model = _model()
    assert {name: values.tolist() for name, values in model.example(2).items()} == {
        "age": [40.0, 40.0],
        "job": ["a", "a"],
    }
    warm_up(model)


def test_nan_weights_are_found() -> None:
    model = _model()
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    with pytest.raises(Unusable, match="NaN or infinity for 'probabilities' on 1 ordinary rows"):
        warm_up(model)


def test_a_task_that_raises_or_answers_too_few_rows_is_found() -> None:
    class Raises(TabularTask):
        def predict(self, module: torch.nn.Module, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
            raise KeyError("no such layer")

    class Short(TabularTask):
        def predict(self, module: torch.nn.Module, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
            return {"probabilities": super().predict(module, inputs)["probabilities"][:1]}

    with pytest.raises(Unusable, match="it fails on 1 ordinary rows: KeyError: 'no such layer'"):
        warm_up(_model(Raises()))
    with pytest.raises(Unusable, match="it fails on 2 ordinary rows"):
        warm_up(_model(Short()))
