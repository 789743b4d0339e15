"""Constraints survive JSON, and a bad edit is named by column, key and rule."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.quality import ColumnConstraints, Constraints, infer_constraints
from rayloop.platform.stats import profile

RNG = np.random.default_rng(0)
TABLE = pa.table(
    {
        "id": np.arange(5_000),
        "hash": RNG.integers(-(2**62), 2**62, 5_000),
        "cents": RNG.integers(0, 10_000_000, 5_000),
        "x": RNG.normal(size=5_000),
        "half": RNG.choice([0.5, 1.0, 1.5], 5_000),
        "city": RNG.choice(["Bonn", "Kiel"], 5_000),
        "rare": [f"text {number}" for number in RNG.integers(0, 100_000, 5_000)],
        "uuid": [f"u{number}" for number in range(5_000)],
        "flag": RNG.uniform(size=5_000) < 0.5,
        "at": pa.array(range(5_000), pa.timestamp("us", "UTC")),
        "vector": list(RNG.normal(size=(5_000, 3))),
        "ragged": [[1.0] * (1 + place % 2) for place in range(5_000)],
        "empty": pa.nulls(5_000, pa.float64()),
    }
)
RULES = infer_constraints(profile(TABLE))


def test_what_is_inferred() -> None:
    columns = RULES.columns
    assert RULES.rows == 5_000
    assert {name for name, rules in columns.items() if rules.max_duplicate_share is not None} == {"id", "hash", "uuid"}
    assert {name for name, rules in columns.items() if rules.domain is not None} == {"city"}
    assert {name for name, rules in columns.items() if rules.max_negative_share is not None} == {"id", "cents", "half"}
    assert {name for name, rules in columns.items() if rules.max_fraction_share == 0} == {"id", "hash", "cents"}
    assert {name for name, rules in columns.items() if rules.minimum is not None} == {"cents", "x", "half"}
    assert {name for name, rules in columns.items() if rules.max_not_finite_share is not None} == {
        "x",
        "half",
        "vector",
    }
    assert columns["city"].domain is not None
    assert set(columns["city"].domain) == {"Bonn", "Kiel"}
    assert (columns["at"].type, columns["flag"].type) == ("zoned timestamp", "boolean")
    assert columns["vector"].width == 3
    assert "ragged" not in columns
    assert columns["empty"].max_null_share == 1.0
    assert 0 < (columns["x"].max_null_share or 0) < 0.01


def test_whole_numbers_in_floats_and_small_tables() -> None:
    rating = infer_constraints(profile({"x": np.array([1.0, 2.0, 3.0] * 200)})).columns["x"]
    assert rating.max_fraction_share is not None
    small = infer_constraints(profile({"x": np.arange(20)})).columns["x"]
    assert small.max_duplicate_share is None
    nothing = infer_constraints(profile(pa.table({"x": pa.array([], pa.int64())}))).columns["x"]
    assert nothing == ColumnConstraints(type="integral")


def test_round_trip() -> None:
    assert Constraints.from_json(RULES.to_json()) == RULES
    assert Constraints.from_json(RULES.to_json().encode()).to_json() == RULES.to_json()
    assert Constraints.from_json(Constraints().to_json()) == Constraints()
    assert pickle.loads(pickle.dumps(RULES)) == RULES
    assert json.loads(RULES.to_json())["columns"]["flag"].keys() == {"type", "max_null_share", "top_share"}


def edited(**rules: object) -> str:
    return json.dumps({"format": 1, "columns": {"age": rules}})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "the constraints are not JSON"),
        ("[]", "the constraints have format 'list', but only 1 can be read"),
        ('{"format": 2}', "the constraints have format 2, but only 1 can be read"),
        (
            '{"format": 1, "row": 5}',
            "the constraints have an unknown key 'row'; known: chance, columns, min_rows, rows",
        ),
        ('{"format": 1, "min_rows": -1}', "min_rows is -1, but it must be a whole number"),
        ('{"format": 1, "chance": 0}', "chance is 0, but it must lie between 0 and 1"),
        ('{"format": 1, "columns": []}', "'columns' must map each column's name"),
        ('{"format": 1, "columns": {"age": 5}}', "column 'age': its rules must be keys and values, not 5"),
        (edited(max_nulls=0), "column 'age' has an unknown key 'max_nulls'"),
        (edited(type="int"), "column 'age': type is 'int', but it must be one of integral"),
        (edited(max_null_share=2), "column 'age': max_null_share is 2, but it must be a share from 0 to 1"),
        (edited(max_null_share=True), "column 'age': max_null_share is True"),
        (edited(minimum="a"), "column 'age': minimum is 'a', but it must be a finite number"),
        (edited(minimum=2, maximum=1), "column 'age': minimum 2 lies above maximum 1"),
        (edited(domain=[1]), "column 'age': domain must be a list of texts"),
        (edited(domain="ab"), "column 'age': domain must be a list of texts"),
        (edited(width=0), "column 'age': width is 0, but it must be a whole number"),
        (edited(is_required=1), "column 'age': is_required is 1, but it must be true or false"),
    ],
)
def test_a_bad_edit_is_named(content: str, sentence: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Constraints.from_json(content)
    assert sentence in str(error.value)


def test_only() -> None:
    assert list(RULES.only(["x", "nope"]).columns) == ["x"]
