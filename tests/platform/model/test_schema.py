"""The schema is what the training rows teach, and refuses what no model can learn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model import feature as module
from rayloop.platform.model.schema import Feature, Schema, Target, canonical_json, fit_schema, table_columns
from rayloop.platform.model.signature import ColumnSpec
from rayloop.platform.project import Project

MakeProject = Callable[..., Project]
LABELS = ["b", "a", "b", "c"]


def fit(make_project: MakeProject, values: Any, target: Any = None, **sections: Any) -> Schema:
    values = values if isinstance(values, pa.Array) else pa.array(values)
    return fit_schema(
        pa.table({"x": values, "label": pa.array(LABELS if target is None else target)}), make_project(**sections)
    )


@pytest.mark.parametrize(
    ("values", "kind", "datatype"),
    [
        (pa.array([1, 2, 3, 4]), "numeric", "INT64"),
        (pa.array([1, 2, 3, 4], pa.int32()), "numeric", "INT32"),
        (pa.array([1, 2, 3, 4], pa.uint8()), "numeric", "INT32"),
        (pa.array([1, 2, 3, 4], pa.uint32()), "numeric", "INT64"),
        (pa.array([1.0, 2, 3, 4]), "numeric", "FP64"),
        (pa.array([1.0, 2, 3, 4], pa.float32()), "numeric", "FP32"),
        (pa.array(np.ones(4, np.float16)), "numeric", "FP32"),
        (pa.array([Decimal("1.5")] * 4), "numeric", "FP64"),
        (pa.array([True, False, True, None]), "numeric", "BOOL"),
        (pa.array([datetime(2026, 1, 1, 12)] * 4), "numeric", "FP64"),  # noqa: DTZ001
        (pa.array([date(2026, 1, 1)] * 4), "numeric", "FP64"),
        (pa.array([1, 2, 3, 4], pa.duration("ms")), "numeric", "FP64"),
        (pa.array(LABELS), "categorical", "BYTES"),
        (pa.array(LABELS, pa.large_string()), "categorical", "BYTES"),
        (pa.array(LABELS).dictionary_encode(), "categorical", "BYTES"),
    ],
)
def test_a_column_is_a_number_or_a_category(
    make_project: MakeProject, values: pa.Array, kind: str, datatype: str
) -> None:
    (feature,) = fit(make_project, values).features
    assert (feature.name, feature.kind, feature.datatype) == ("x", kind, datatype)
    (found,) = table_columns(pa.table({"x": values}), ["x"]).values()
    assert found.shape == (4,)


@pytest.mark.parametrize(
    "values", [[[1], [2], [3], [4]], [b"a"] * 4, [{"a": 1}] * 4, pa.array([1] * 4, pa.time64("us"))]
)
def test_other_types_are_refused(make_project: MakeProject, values: Any) -> None:
    with pytest.raises(
        InvalidInput, match=r"column 'x' has type .*, which no feature can have: name it under data.ignore"
    ):
        fit(make_project, values)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_seconds_since_1970(unit: str) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    moments = pa.array([0, 1_767_268_800 * per_second + (1 if unit == "ns" else 0), None], pa.timestamp(unit))
    spans = pa.array([0, 90 * per_second, None], pa.duration(unit))
    found = table_columns(
        pa.table({"at": moments, "took": spans, "on": pa.array([0, 1, None], pa.date32())}), ["at", "took", "on"]
    )
    assert found["at"].tolist()[:2] == [0, 1_767_268_800]
    assert found["took"].tolist()[:2] == [0, 90]
    assert found["on"].tolist()[:2] == [0, 86_400]
    assert all(math.isnan(float(values[2])) for values in found.values())


def test_scales_are_those_of_the_finite_values(make_project: MakeProject) -> None:
    (feature,) = fit(make_project, [1.0, 3.0, math.inf, math.nan]).features
    assert (feature.mean, feature.std, feature.has_missing) == (2.0, 1.0, True)
    (feature,) = fit(make_project, [1, 3, 1, 3]).features
    assert (feature.mean, feature.std, feature.has_missing) == (2.0, 1.0, False)
    (feature,) = fit(make_project, [1, None, 3, None]).features
    assert (feature.mean, feature.std, feature.has_missing) == (2.0, 1.0, True)


@pytest.mark.parametrize("value", [0.1, 1e30, -7.3, 0.0])
def test_a_constant_column_is_scaled_by_one(make_project: MakeProject, value: float) -> None:
    rows = 1_001
    made = fit_schema(pa.table({"x": [value] * rows, "label": ["a", *"b" * (rows - 1)]}), make_project())
    assert made.features[0].std == 1.0
    project = make_project(task={"kind": "regression"})
    assert fit_schema(pa.table({"x": range(rows), "label": [value] * rows}), project).target.std == 1.0


def test_a_column_without_any_value_is_missing(make_project: MakeProject) -> None:
    (feature,) = fit(make_project, pa.array([None] * 4, pa.float64())).features
    assert feature == Feature("x", "numeric", "FP64", 0.0, 1.0, True)


def test_categories_are_sorted_and_without_null(make_project: MakeProject) -> None:
    (feature,) = fit(make_project, ["é", None, "b", "B"]).features
    assert feature.categories == ("B", "b", "é")


def test_too_many_categories_are_refused(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CATEGORIES", 3)
    assert len(fit(make_project, ["a", "b", "c", "c"]).features[0].categories) == 3
    with pytest.raises(InvalidInput, match="column 'x' has 4 different texts; 3 are the most a feature may have"):
        fit(make_project, ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("target", "classes", "datatype"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c"), "BYTES"),
        (pa.array(["b", "a", "b", "c"]).dictionary_encode(), ("a", "b", "c"), "BYTES"),
        (pa.array(["b", "a", "b", "c"], pa.large_string()), ("a", "b", "c"), "BYTES"),
        ([10, -1, 9, 10], (-1, 9, 10), "INT64"),
        (pa.array([1, 0, 1, 0], pa.int8()), (0, 1), "INT32"),
        ([True, False, True, True], (False, True), "BOOL"),
    ],
)
def test_classes_are_sorted_and_numbered(
    make_project: MakeProject, target: Any, classes: tuple[Any, ...], datatype: str
) -> None:
    values = target if isinstance(target, pa.Array) else pa.array(target)
    made = fit(make_project, [1, 2, 3, 4], values)
    assert made.target == Target("label", datatype, classes)  # type: ignore[arg-type]
    assert made.target.is_classes
    codes = made.encode_target(pa.chunked_array([values]))
    assert codes.dtype == np.int64
    assert [classes[code] for code in codes] == values.to_pylist()


def test_one_class_is_refused(make_project: MakeProject) -> None:
    with pytest.raises(
        InvalidInput, match="target 'label' has one class only, 'a' in the training rows; it must have 2 to 1000"
    ):
        fit(make_project, [1, 2], ["a", "a"])


def test_too_many_classes_are_refused(make_project: MakeProject) -> None:
    with pytest.raises(InvalidInput, match="target 'label' has 1001 classes in the training rows; it must have 2 to"):
        fit(make_project, range(1001), range(1001))


@pytest.mark.parametrize(
    "target", [[0.0, 1.0], [Decimal("0.5"), Decimal("1.5")], [date(2026, 1, 1), date(2026, 1, 2)], [[1], [2]]]
)
def test_classes_of_another_type_are_refused(make_project: MakeProject, target: list[Any]) -> None:
    with pytest.raises(
        InvalidInput, match=r"target 'label' has type .*: classes are texts, whole numbers or booleans; set task.kind"
    ):
        fit(make_project, [1, 2], target)


@pytest.mark.parametrize(("target", "shown"), [(LABELS, "'zebra'"), ([5, 6, 7, 8], "42")])
def test_an_unknown_class_is_named(make_project: MakeProject, target: list[Any], shown: str) -> None:
    made = fit(make_project, [1, 2, 3, 4], target)
    later = pa.chunked_array([target, [target[0], json.loads(shown.replace("'", '"'))]])
    with pytest.raises(InvalidInput, match=f"target 'label' has the class {shown}, which training never saw"):
        made.encode_target(later)


def test_a_target_of_another_type_is_named(make_project: MakeProject) -> None:
    made = fit(make_project, [1, 2, 3, 4], LABELS)
    with pytest.raises(InvalidInput, match="target 'label' has type int64 here, but classes such as 'a' in training"):
        made.encode_target(pa.chunked_array([[1, 2]]))


def test_a_number_is_scaled_by_training_rows(make_project: MakeProject) -> None:
    made = fit(make_project, [1, 2, 3, 4], [10, 20, 30, 40], task={"kind": "regression"})
    assert (made.target.mean, made.target.std, made.target.is_classes) == (25.0, pytest.approx(math.sqrt(125)), False)
    encoded = made.encode_target(pa.chunked_array([[10, 20]]))
    assert (encoded.dtype, encoded.tolist()) == (np.float32, [10.0, 20.0])


def test_the_named_columns_are_no_features(make_project: MakeProject) -> None:
    table = pa.table({name: [1, 2] for name in ("id", "b", "at", "sex", "a", "note")} | {"label": ["x", "y"]})
    data = {"key": "id", "time": "at", "sensitive": ["sex"], "ignore": ["note"]}
    assert [feature.name for feature in fit_schema(table, make_project(data=data)).features] == ["b", "a"]


def test_a_schema_survives_json(schema: Schema) -> None:
    assert Schema.from_dict(json.loads(canonical_json(schema.to_dict()))) == schema


@pytest.mark.parametrize("target", [[True, False], [3, 4], ["a", "b"]])
def test_classes_keep_their_type_through_json(make_project: MakeProject, target: list[Any]) -> None:
    made = fit(make_project, [1, 2], target)
    again = Schema.from_dict(json.loads(canonical_json(made.to_dict())))
    assert [type(value) for value in again.target.classes] == [type(target[0])] * 2


def test_the_signature_names_what_a_model_takes_and_gives(make_project: MakeProject, schema: Schema) -> None:
    signature = schema.signature()
    assert signature.inputs == (ColumnSpec("age", "FP64"), ColumnSpec("income", "FP64"), ColumnSpec("city", "BYTES"))
    assert signature.outputs == (ColumnSpec("prediction", "BYTES"), ColumnSpec("probabilities", "FP32", 2))
    assert not signature.is_one_matrix
    regression = fit(make_project, [1, 2], [1.0, 2.0], task={"kind": "regression"}).signature()
    assert regression.outputs == (ColumnSpec("prediction", "FP64"),)
    assert regression.is_one_matrix


def test_canonical_json_depends_on_the_values_alone() -> None:
    assert canonical_json({"b": 1, "a": [2.5]}) == canonical_json({"a": [2.5], "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": math.nan})
