"""A table that cannot be what its project says is refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyarrow as pa
import pytest
from rayloop.platform.data import check_table
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import Project

MakeProject = Callable[..., Project]
ROWS = 5
TABLE = pa.table({"id": [1, 2, 3, 4, 5], "age": [1.0] * ROWS, "label": ["a", "b", "a", "b", "a"], "at": [1] * ROWS})


def refusal(table: pa.Table, project: Project) -> str:
    with pytest.raises(InvalidInput) as error:
        check_table(table, project, "a.csv")
    return str(error.value)


def change(**columns: object) -> pa.Table:
    table = TABLE
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def test_a_sound_table_passes(make_project: MakeProject) -> None:
    check_table(TABLE, make_project(data={"key": "id", "time": "at"}), "a.csv")
    check_table(change(age=[None, math.nan, math.inf, 1.0, 2.0]), make_project(), "a.csv")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"target": "lable"}, "a.csv has no column 'lable', which data.target names; did you mean 'label'?"),
        ({"key": "ID9"}, "a.csv has no column 'ID9', which data.key names; it has: id, age, label, at"),
        ({"time": "aat"}, "a.csv has no column 'aat', which data.time names; did you mean 'at'?"),
        ({"sensitive": ["agee"]}, "a.csv has no column 'agee', which data.sensitive names; did you mean 'age'?"),
        ({"ignore": ["id", "ags"]}, "a.csv has no column 'ags', which data.ignore names; did you mean 'age'?"),
    ],
)
def test_a_wrong_column_is_named(make_project: MakeProject, data: dict[str, object], sentence: str) -> None:
    assert refusal(TABLE, make_project(data=data)) == sentence


def test_of_many_columns_some_are_named(make_project: MakeProject) -> None:
    wide = pa.table({f"c{place}": [1] for place in range(11)})
    found = refusal(wide, make_project(data={"target": "zzzzzz"}))
    assert found.endswith("it has: c0, c1, c2, c3, c4, c5, c6, c7 and 3 more")


@pytest.mark.parametrize(
    ("columns", "data", "sentence"),
    [
        (
            {"label": ["a", None, "b", None, "a"]},
            {},
            "the target 'label' is null or NaN in 2 of 5 rows, first in row 2",
        ),
        (
            {"label": [0.0, 1.0, math.nan, 0.0, 1.0]},
            {},
            "the target 'label' is null or NaN in 1 of 5 rows, first in row 3",
        ),
        ({"label": pa.nulls(5)}, {}, "the target 'label' is null or NaN in 5 of 5 rows, first in row 1"),
        ({"id": [1, 2, 3, 4, None]}, {"key": "id"}, "the key 'id' is null or NaN in 1 of 5 rows, first in row 5"),
        ({"at": [1, 2, 3, None, 5]}, {"time": "at"}, "the time 'at' is null or NaN in 1 of 5 rows, first in row 4"),
    ],
)
def test_gaps_are_counted_and_placed(
    make_project: MakeProject, columns: dict[str, object], data: dict[str, object], sentence: str
) -> None:
    found = refusal(change(**columns), make_project(data=data))
    assert found == f"a.csv: {sentence}; it must have a value in each"


def test_gaps_are_placed_over_the_chunks_of_a_column(make_project: MakeProject) -> None:
    chunked = pa.concat_tables([TABLE, change(label=["a", None, "b", "a", "a"])])
    assert "in 1 of 10 rows, first in row 7;" in refusal(chunked, make_project())


def test_no_rows_are_refused(make_project: MakeProject) -> None:
    assert refusal(TABLE.slice(0, 0), make_project()) == "a.csv holds no rows"


def test_no_features_are_refused(make_project: MakeProject) -> None:
    project = make_project(data={"key": "id", "time": "at", "ignore": ["age"]})
    assert refusal(TABLE, project).startswith("a.csv has no feature column: every column is target, key, time")


def test_two_columns_of_one_name_are_refused(make_project: MakeProject) -> None:
    twice = TABLE.append_column("age", TABLE["age"])
    assert refusal(twice, make_project()) == "a.csv has 2 columns named 'age'"


def test_a_text_target_is_no_regression(make_project: MakeProject) -> None:
    project = make_project(task={"kind": "regression"})
    assert refusal(TABLE, project) == "a.csv: target 'label' has type string; regression needs numbers"
    for numbers in ([1, 2, 3, 4, 5], [0.5] * ROWS):
        check_table(change(label=numbers), project, "a.csv")
