"""Numbers enter a module scaled, in pieces or by rank, whatever is missing and however far out they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.platform.model.feature import Feature, fit_feature
from rayloop.platform.model.numbers import BEYOND, Numbers
from rayloop.platform.model.schema import Schema, fit_schema, table_columns
from rayloop.platform.model.tabular import TabularTask, embedding_width
from rayloop.platform.model.target import Target
from rayloop.platform.project import Project

AGE = Feature("age", "numeric", "FP64", 30.0, 10.0, edges=(0.0, 20.0, 30.0, 80.0))
BARE = Feature("x", "numeric", "FP64", 1.0, 2.0, has_missing=True)
NAN = math.nan


def rows(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def test_a_number_fills_its_bins_one_after_the_other() -> None:
    made = Numbers([AGE], "piecewise")
    assert made.width == 4
    found = made(rows([0.0], [10.0], [25.0], [80.0]))
    assert found[:, 0].tolist() == [-3.0, -2.0, -0.5, 5.0]
    assert found[:, 1:].tolist() == [[0, 0, 0], [0.5, 0, 0], [1, 0.5, 0], [1, 1, 1]]


def test_an_outlier_goes_on_beyond_the_outer_bins_but_not_far() -> None:
    made = Numbers([AGE], "piecewise")
    assert made(rows([-20.0], [130.0]))[:, 1:].tolist() == [[-1, 0, 0], [1, 1, 2]]
    assert made(rows([-1e9], [1e9]))[:, 1:].tolist() == [[-BEYOND, 0, 0], [1, 1, 1 + BEYOND]]


def test_a_rank_is_spread_evenly() -> None:
    made = Numbers([AGE, BARE], "quantile")
    assert made.width == 3
    found = made(rows([0.0, 3.0], [25.0, NAN], [80.0, 1.0]))
    assert found[:, 0].tolist() == pytest.approx([-math.sqrt(3), 0.0, math.sqrt(3)], abs=1e-6)
    assert found[:, 1].tolist() == [1.0, 0.0, 0.0]  # without edges it is scaled
    assert found[:, 2].tolist() == [0.0, 1.0, 0.0]


def test_a_gap_is_the_mean_in_every_way() -> None:
    for way in ("standard", "quantile", "piecewise"):
        made = Numbers([AGE], way)
        gap, mean = made(rows([NAN], [30.0]))
        assert torch.equal(gap, mean)


def test_without_edges_every_way_is_the_same() -> None:
    values = rows([5.0], [NAN])
    found = [Numbers([BARE], way)(values) for way in ("standard", "quantile", "piecewise")]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_pieces_of_real_numbers_are_finite_and_full_at_the_top() -> None:
    values = np.random.default_rng(0).lognormal(sigma=3, size=5_000)
    made = Numbers([fit_feature("x", pa.chunked_array([values]))], "piecewise")
    found = made(torch.from_numpy(np.array([[values.min()], [values.max()]], dtype=np.float32)))
    assert bool(torch.isfinite(found).all())
    assert found[0, 1:].tolist() == pytest.approx([0.0] * 48, abs=1e-4)
    assert found[1, 1:].tolist() == pytest.approx([1.0] * 48, abs=1e-4)


def test_an_instant_is_known_to_the_second_and_by_its_place_in_the_day(make_project: Callable[..., Project]) -> None:
    begin = datetime(2026, 3, 2, 6, tzinfo=UTC)  # a Monday
    at = pa.array([int(begin.timestamp()) + second for second in (0, 1, 6 * 3600, 86_400 * 7)], pa.timestamp("s"))
    table = pa.table({"at": at, "label": ["a", "b", "a", "b"]})
    schema = fit_schema(table, make_project())
    inputs = TabularTask().encode(schema, table_columns(table, ["at"]))
    numbers = inputs["numeric"][:, 0].double()
    assert (numbers[1] - numbers[0]).item() == pytest.approx(1.0, abs=0.02)
    calendar = inputs["calendar"]
    assert calendar.shape == (4, 6)
    assert calendar[0, 0].item() == pytest.approx(1.0)  # a quarter of the day has gone
    assert calendar[2, 3].item() == pytest.approx(-1.0)  # noon
    assert calendar[0, [0, 1, 3, 4]].tolist() == pytest.approx(calendar[3, [0, 1, 3, 4]].tolist(), abs=1e-5)
    missing = TabularTask().encode(schema, {"at": np.array([NAN])})
    assert missing["calendar"].tolist() == [[0.0] * 6]


@pytest.mark.parametrize(("categories", "width"), [(1, 2), (2, 3), (7, 5), (42, 13), (10_000, 24)])
def test_an_embeddings_width_follows_the_categories(categories: int, width: int) -> None:
    feature = Feature("x", "categorical", "BYTES", categories=tuple(str(place) for place in range(categories)))
    assert embedding_width(feature, "auto") == width
    assert embedding_width(feature, 4) == 4


def test_the_linear_model_is_linear() -> None:
    city = Feature("city", "categorical", "BYTES", categories=("a", "b"))
    schema = Schema((AGE, city), Target("y", "FP64"))
    torch.manual_seed(0)
    module: Any = TabularTask().build(schema, {"model": "linear", "hidden": [64]})
    assert [tuple(table.weight.shape) for table in module.embeddings] == [(3, 1)]
    ages = rows([10.0], [20.0], [30.0])
    scores = module({"numeric": ages, "categorical": torch.ones(3, 1, dtype=torch.int64)}).flatten()
    assert (scores[1] - scores[0]).item() == pytest.approx((scores[2] - scores[1]).item(), rel=1e-4)
