"""Windows are cut from each key's rows in order of time, whole ones alone, and never across two keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.schema import fit_schema, framed
from rayloop.platform.project import Project

PARAMS = {"window": 3, "horizon": 2}


def project(params: dict[str, Any] | None = None, **data: Any) -> Project:
    columns = {"source": "a", "target": "sold", "time": "at", "split": {"by": "time"}, **data}
    task = {"use": "forecast", "kind": "regression", "params": params or PARAMS}
    return Project.model_validate({"name": "a", "data": columns, "task": task})


def test_a_window_is_what_came_before_and_its_target_what_came_after() -> None:
    table = pa.table({"at": [5, 3, 1, 4, 2, 0], "sold": [50, 30, 10, 40, 20, 0], "hot": [5.5, None, 1, 4, 2, 0]})
    found = framed(table, project())
    assert found.column_names == ["at", "past.sold", "past.hot", "sold"]
    assert found.column("at").to_pylist() == [2, 3]
    assert found.column("past.sold").to_pylist() == [[0, 10, 20], [10, 20, 30]]
    assert found.column("sold").to_pylist() == [[30, 40], [40, 50]]
    assert np.isnan(found.column("past.hot").to_pylist()[1][2])


def test_no_window_crosses_two_keys_and_a_short_one_has_none() -> None:
    keys = ["b", "a", "a", "b", "a", "a", "b", "a", "c"]
    table = pa.table({"at": range(9), "shop": keys, "sold": [float(place) for place in range(9)]})
    found = framed(table, project(key="shop"))
    assert found.column("shop").to_pylist() == ["a"]
    assert found.column("past.sold").to_pylist() == [[1, 2, 4]]
    assert found.column("sold").to_pylist() == [[5, 7]]


def test_a_stride_leaves_windows_out() -> None:
    table = pa.table({"at": range(10), "sold": range(10)})
    found = framed(table, project({**PARAMS, "stride": 3}))
    assert found.column("past.sold").to_pylist() == [[0, 1, 2], [3, 4, 5]]


def test_other_tasks_keep_their_rows() -> None:
    table = pa.table({"sold": [1, 2]})
    plain = Project.model_validate({"name": "a", "data": {"source": "a", "target": "sold"}})
    assert framed(table, plain) is table


@pytest.mark.parametrize(
    ("table", "made", "said"),
    [
        ({"at": [1, 2], "sold": [1, 2]}, project(), "no series has 5 rows, which task.params.window 3 and horizon 2"),
        ({"at": range(9), "sold": range(9)}, project(split={"by": "key"}), "needs data.time, and data.split.by time"),
        ({"at": range(9), "sold": ["a"] * 9}, project(), "column 'sold' has type string; a series is numbers"),
        ({"at": range(9), "sold": range(9)}, project({"window": 0}), "task.params.window = 0: it must be a whole"),
    ],
)
def test_what_is_no_series_is_refused(table: dict[str, Any], made: Project, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        framed(pa.table(table), made)
    assert said in str(error.value)


def test_a_forecast_names_its_windows_and_its_steps() -> None:
    made = project({**PARAMS, "quantiles": [0.1, 0.9]})
    found = framed(pa.table({"at": range(20), "sold": range(20)}), made)
    signature = fit_schema(found, made).signature()
    assert [(one.name, one.datatype, one.width) for one in signature.inputs] == [("past.sold", "FP32", 3)]
    assert [(one.name, one.width) for one in signature.outputs] == [("prediction", 2), ("quantiles", 4)]
