"""The tabular task encodes, scales, imputes and answers as its schema says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.schema import Feature, Schema, Target, fit_schema, table_columns
from rayloop.platform.model.tabular import TabularModule, TabularTask
from rayloop.platform.model.task import Batch, Task
from rayloop.platform.project import Project
from torch import nn

TASK = TabularTask()
CLASSES = Target("label", "BYTES", ("no", "yes"))
NUMBER = Target("label", "FP64", mean=1000.0, std=50.0)
AGE = Feature("age", "numeric", "FP64", 40.0, 10.0)
INCOME = Feature("income", "numeric", "FP64", 3e4, 1e4, has_missing=True)
CITY = Feature("city", "categorical", "BYTES", categories=("", "Bonn", "Ulm"))


def objects(*values: object) -> Any:
    return np.array(values, dtype=object)


def test_it_is_a_task() -> None:
    assert isinstance(TASK, Task)


def test_columns_are_encoded_by_kind_in_the_schemas_order() -> None:
    schema = Schema((CITY, INCOME, AGE), CLASSES)
    columns = {
        "age": np.array([1, 2, 3]),
        "city": objects("Ulm", "Bonn", ""),
        "income": np.array([1.5, np.nan, np.inf]),
    }
    inputs = TASK.encode(schema, columns)
    assert inputs["numeric"].dtype == torch.float32
    assert inputs["numeric"].shape == (3, 2)
    assert inputs["numeric"][:, 1].tolist() == [1, 2, 3]
    assert math.isnan(inputs["numeric"][1, 0])
    assert inputs["categorical"].dtype == torch.int64
    assert inputs["categorical"].tolist() == [[3], [2], [1]]


def test_unknown_and_missing_texts_are_zero() -> None:
    schema = Schema((CITY,), CLASSES)
    given = objects("Kiel", None, math.nan, 7, "Zzz", "A", "", "Bonn")
    assert TASK.encode(schema, {"city": given})["categorical"].flatten().tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    never = Feature("city", "categorical", "BYTES")
    assert TASK.encode(Schema((never,), CLASSES), {"city": given})["categorical"].tolist() == [[0]] * 8


def test_kinds_that_are_not_there_are_left_out() -> None:
    assert set(TASK.encode(Schema((AGE,), CLASSES), {"age": np.ones(2)})) == {"numeric"}
    assert set(TASK.encode(Schema((CITY,), CLASSES), {"city": objects("Ulm")})) == {"categorical"}


@pytest.mark.parametrize("features", [(AGE,), (CITY,), (AGE, INCOME, CITY), (CITY, CITY, AGE)])
@pytest.mark.parametrize("target", [CLASSES, NUMBER, Target("label", "INT64", tuple(range(7)))])
def test_answers_have_their_shape(make_module: Callable[..., nn.Module], features: Any, target: Target) -> None:
    schema = Schema(features, target)
    columns = {"age": np.ones(5), "income": np.full(5, np.nan), "city": objects(*["Ulm"] * 5)}
    given = TASK.predict(make_module(schema), TASK.encode(schema, columns))
    if target.is_classes:
        assert given["probabilities"].shape == (5, len(target.classes))
        assert torch.allclose(given["probabilities"].sum(dim=1), torch.ones(5))
    else:
        assert given["prediction"].shape == (5,)


def test_a_gap_is_the_mean_and_a_flag(make_module: Callable[..., nn.Module]) -> None:
    schema = Schema((AGE, INCOME), NUMBER)
    module = make_module(schema)
    seen: list[torch.Tensor] = []
    module.layers.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    module(TASK.encode(schema, {"age": np.array([50.0, np.nan]), "income": np.array([2e4, np.inf])}))
    assert seen[0].tolist() == [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_gap_without_a_flag_answers_like_the_mean(make_module: Callable[..., nn.Module]) -> None:
    schema = Schema((AGE,), NUMBER)
    gap, mean = TASK.predict(make_module(schema), TASK.encode(schema, {"age": np.array([np.nan, 40.0])}))["prediction"]
    assert gap == mean


def test_an_answer_is_in_the_targets_unit(make_module: Callable[..., nn.Module]) -> None:
    schema = Schema((AGE,), NUMBER)
    module = make_module(schema)
    for parameter in module.layers[-1].parameters():
        nn.init.zeros_(parameter)
    inputs = TASK.encode(schema, {"age": np.array([20.0, 60.0])})
    assert TASK.predict(module, inputs)["prediction"].tolist() == [1000.0, 1000.0]
    nn.init.ones_(module.layers[-1].bias)
    assert TASK.predict(module, inputs)["prediction"].tolist() == [1050.0, 1050.0]
    # Both rows miss the answer 1050 by 50 and 100, which are one and two deviations.
    assert TASK.loss(module, Batch(inputs, torch.tensor([1000.0, 1150.0]))).item() == pytest.approx((1 + 4) / 2)


def test_the_loss_of_classes_is_their_cross_entropy(make_module: Callable[..., nn.Module]) -> None:
    schema = Schema((AGE, CITY), CLASSES)
    module, target = make_module(schema), torch.tensor([0, 1, 1])
    inputs = TASK.encode(schema, {"age": np.array([20.0, 40.0, 60.0]), "city": objects("Ulm", "Bonn", None)})
    chances = TASK.predict(module, inputs)["probabilities"]
    expected = -chances[torch.arange(3), target].log().mean().item()
    assert TASK.loss(module, Batch(inputs, target)).item() == pytest.approx(expected, rel=1e-5)


def test_it_learns(make_project: Callable[..., Project], make_table: Callable[..., pa.Table]) -> None:
    table = make_table(500)
    schema = fit_schema(table, make_project(data={"key": "id"}))
    torch.manual_seed(0)
    module = TASK.build(schema, {"hidden": [16]})
    inputs = TASK.encode(schema, table_columns(table, [feature.name for feature in schema.features]))
    batch = Batch(inputs, torch.from_numpy(np.array(schema.encode_target(table["label"]))))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    first = TASK.loss(module, batch).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = TASK.loss(module, batch)
        loss.backward()
        optimizer.step()
    assert TASK.loss(module, batch).item() < 0.5 * first


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (
            {"widths": [3]},
            "task.params.widths is unknown to tabular; known: model, hidden, dropout, embedding, numbers, quantiles",
        ),
        ({"hidden": [8, 0]}, "task.params.hidden = [8, 0]: it must be a list of widths above 0"),
        ({"hidden": ["8"]}, "task.params.hidden = ['8']: it must be a list of widths above 0"),
        ({"hidden": "8"}, "task.params.hidden = '8': it must be a list of widths above 0"),
        ({"hidden": 2.5}, "task.params.hidden = 2.5: it must be a list of widths above 0"),
        ({"hidden": [True]}, "task.params.hidden = [True]: it must be a list of widths above 0"),
        ({"dropout": 1}, "task.params.dropout = 1: it must be at least 0 and below 1"),
        ({"dropout": "much"}, "task.params.dropout = 'much': it must be at least 0 and below 1"),
        ({"dropout": math.nan}, "task.params.dropout = nan: it must be at least 0 and below 1"),
        ({"embedding": 0}, "task.params.embedding = 0: it must be a whole number above 0, or auto"),
        ({"embedding": 2.5}, "task.params.embedding = 2.5: it must be a whole number above 0, or auto"),
    ],
)
def test_bad_parameters_are_one_sentence(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as error:
        TASK.build(Schema((AGE, CITY), CLASSES), params)
    assert str(error.value) == sentence


def test_good_parameters_are_taken() -> None:
    module = TASK.build(Schema((AGE, CITY), CLASSES), {"hidden": 5, "dropout": 0, "embedding": 3})
    assert isinstance(module, TabularModule)
    assert [layer.weight.shape for layer in module.layers if isinstance(layer, nn.Linear)] == [(5, 4), (2, 5)]
    linear = TASK.build(Schema((AGE,), NUMBER), {"hidden": []})
    assert [tuple(parameter.shape) for parameter in linear.parameters()] == [(1, 1), (1,)]
