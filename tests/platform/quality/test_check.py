"""Each code is found where its rule is broken, and a window of the reference has none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.quality import (
    CODES,
    Anomaly,
    ColumnConstraints,
    Constraints,
    check,
    check_schema,
    countable_columns,
    has_error,
    infer_constraints,
    window_anomalies,
)
from rayloop.platform.stats import profile, profile_table

ROWS = 4_000


def build(rows: int = ROWS, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(rows) + seed * 1_000_000,
            "code": [f"{seed}-{place}" for place in range(rows)],
            "age": pa.array(rng.integers(18, 90, rows), mask=rng.uniform(size=rows) < 0.02),
            "income": rng.lognormal(10, 1, rows),
            "shift": rng.normal(0, 5, rows).astype(np.float32),
            "visits": rng.poisson(2, rows),
            "rating": rng.integers(1, 6, rows).astype(float),
            "city": pa.array(
                rng.choice(["Bonn", "Kiel", "Ulm"], rows, p=[0.7, 0.2, 0.1]), mask=rng.uniform(size=rows) < 0.1
            ),
            "name": [f"name {number}" for number in rng.zipf(1.5, rows)],
            "flag": rng.uniform(size=rows) < 0.3,
            "at": pa.array(1_700_000_000 + np.arange(rows) * 60, pa.timestamp("s")),
            "vector": pa.array(list(rng.normal(size=(rows, 4)))),
            "empty": pa.nulls(rows, pa.float64()),
            "same": np.full(rows, 7.0),
        }
    )


REFERENCE = build()
PROFILE = profile(REFERENCE)
Change = Callable[[pa.Table], pa.Table]


def put(name: str, values: Any) -> Change:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values, from_pandas=False))


def found(window: pa.Table) -> list[tuple[str, str | None]]:
    """By both ways: a window on the reference's bins, and a table on bins of its own."""
    names = countable_columns(window.schema, PROFILE)
    on_reference = profile_table(window, {name: PROFILE.binnings[name] for name in names})
    ways = (
        window_anomalies(PROFILE, on_reference, window.schema),
        check(profile(window), infer_constraints(PROFILE), window.schema),
    )
    one, other = (sorted((anomaly.code, anomaly.column) for anomaly in way) for way in ways)
    assert one == other
    for anomaly in ways[0]:
        assert anomaly.column is None or repr(anomaly.column) in anomaly.reason
        assert anomaly.share is None or anomaly.limit is None or anomaly.share > anomaly.limit
    return one


WINDOW = build(500, seed=1)


def some(share: float, value: Any, values: Any) -> list[Any]:
    """The values with so many of them replaced."""
    kept = list(values)
    for place in range(0, len(kept), round(1 / share)):
        kept[place] = value
    return kept


CASES: dict[str, tuple[Change, list[tuple[str, str | None]]]] = {
    "nothing": (lambda table: table, []),
    "missing": (lambda table: table.drop_columns("age"), [("SCHEMA_MISSING_COLUMN", "age")]),
    "new": (lambda table: table.append_column("more", table["age"]), [("SCHEMA_NEW_COLUMN", "more")]),
    "new without a profile": (lambda table: table.append_column("raw", pa.array([b"x"] * 500)), []),
    "text for a number": (put("age", ["17"] * 500), [("TYPE_CHANGED", "age")]),
    "bytes for a text": (put("city", [b"Bonn"] * 500), [("TYPE_CHANGED", "city")]),
    "zone": (put("at", pa.array(range(500), pa.timestamp("s", "UTC"))), [("TIME_ZONE_CHANGED", "at")]),
    "whole for a fraction": (put("income", [20_000, 30_000] * 250), []),
    "nulls": (put("income", some(0.2, None, [2e4, 3e4] * 250)), [("NULLS_ABOVE_REFERENCE", "income")]),
    "all null": (put("income", pa.nulls(500, pa.float64())), [("COLUMN_ALL_NULL", "income")]),
    "all null without a type": (put("age", pa.nulls(500)), [("COLUMN_ALL_NULL", "age")]),
    "constant": (put("shift", np.ones(500, np.float32)), [("COLUMN_CONSTANT", "shift")]),
    "constant text": (put("name", ["name 7"] * 500), [("COLUMN_CONSTANT", "name")]),
    "nan": (put("income", some(0.1, np.nan, [2e4, 3e4] * 250)), [("VALUE_NOT_FINITE", "income")]),
    "infinity": (put("income", some(0.1, np.inf, [2e4, 3e4] * 250)), [("VALUE_NOT_FINITE", "income")]),
    "negative": (put("visits", some(0.1, -5, [2, 3] * 250)), [("VALUE_NEGATIVE", "visits")]),
    "range": (put("age", some(0.1, 200, [20, 30] * 250)), [("VALUE_OUT_OF_RANGE", "age")]),
    "unknown": (put("city", some(0.2, "Rom", ["Bonn", "Ulm"] * 250)), [("CATEGORY_UNKNOWN", "city")]),
    "not unique": (put("id", some(0.5, 4, range(500))), [("NOT_UNIQUE", "id")]),
    "text not unique": (put("code", some(0.2, "x", map(str, range(500)))), [("NOT_UNIQUE", "code")]),
    "no rows": (lambda table: table.slice(0, 0), [("NO_ROWS", None)]),
    "one stray row": (put("age", [*[20, 30] * 249, 200, -1]), []),
    "one stray text": (put("city", [*["Bonn", "Ulm"] * 249, "Rom", "Bonn"]), []),
    "two rows": (lambda table: table.slice(0, 2), []),
}


@pytest.mark.parametrize("case", CASES)
def test_each_code_is_found_and_nothing_else(case: str) -> None:
    change, expected = CASES[case]
    assert found(change(WINDOW)) == expected


def test_whole_numbers_that_have_fractions_now() -> None:
    window = put("age", [20.5, 30.5] * 250)(WINDOW)
    own = check(profile(window), infer_constraints(PROFILE), window.schema)
    assert [anomaly.code for anomaly in own] == ["TYPE_CHANGED", "VALUE_NOT_INTEGRAL"]
    assert own[1].share is not None
    assert own[1].share >= 0.5  # what the bins prove
    window = put("rating", [1.5, 2.5, 3.5, 4.5] * 125)(WINDOW)
    assert [a.code for a in check(profile(window), infer_constraints(PROFILE))] == ["VALUE_NOT_INTEGRAL"]
    window = put("age", [20.0, None] * 250)(WINDOW)  # as pandas has whole numbers with gaps
    codes = {a.code for a in check(profile(window), infer_constraints(PROFILE))}
    assert "VALUE_NOT_INTEGRAL" not in codes


def test_vectors_of_another_width() -> None:
    window = put("vector", [[1.0, 2.0]] * 500)(WINDOW)
    (anomaly,) = check(profile(window), infer_constraints(PROFILE))
    assert (anomaly.code, anomaly.severity) == ("VECTOR_WIDTH_CHANGED", "error")
    fixed = pa.schema([pa.field("vector", pa.list_(pa.float32(), 2))])
    (anomaly,) = check_schema(fixed, PROFILE.select(["vector"]))
    assert anomaly.code == "VECTOR_WIDTH_CHANGED"
    assert anomaly.reason == "column 'vector' holds vectors of 2 numbers, but held 4"


def test_lists_of_several_widths() -> None:
    window = put("vector", [[1.0], [1.0, 2.0]] * 250)(WINDOW)
    (anomaly,) = check(profile(window), infer_constraints(PROFILE), window.schema)
    assert anomaly.code == "VECTOR_WIDTH_CHANGED"
    assert anomaly.reason == "column 'vector' holds no vectors of one width, but held 4 numbers in each"


def test_too_few_rows_and_a_column_twice() -> None:
    (anomaly,) = window_anomalies(PROFILE, profile(WINDOW, PROFILE), min_rows=501)
    assert (anomaly.code, anomaly.severity) == ("TOO_FEW_ROWS", "warning")
    twice = pa.schema([*REFERENCE.schema, pa.field("age", pa.int64())])
    (anomaly,) = check_schema(twice, PROFILE)
    assert (anomaly.code, anomaly.column) == ("SCHEMA_DUPLICATE_COLUMN", "age")
    assert "age" not in countable_columns(twice, PROFILE)


def test_every_code_has_a_case() -> None:
    cased = {code for _, expected in CASES.values() for code, _ in expected}
    assert set(CODES) - cased == {
        "TOO_FEW_ROWS",
        "SCHEMA_DUPLICATE_COLUMN",
        "VALUE_NOT_INTEGRAL",
        "VECTOR_WIDTH_CHANGED",
    }


def test_a_window_that_could_not_be_counted() -> None:
    assert [anomaly.code for anomaly in window_anomalies(PROFILE, None)] == ["NO_ROWS"]
    schema = REFERENCE.schema.remove(REFERENCE.column_names.index("age"))
    assert [anomaly.code for anomaly in window_anomalies(PROFILE, None, schema)] == ["SCHEMA_MISSING_COLUMN"]


def test_unknown_texts_are_named_most_frequent_first() -> None:
    window = put("city", ["Rom", "Oslo", "Rom", "Bonn"] * 125)(WINDOW)
    for profiled in (profile(window), profile(window, PROFILE)):
        (anomaly,) = check(profiled, infer_constraints(PROFILE))
        assert "such as 'Rom' (250), 'Oslo' (125)," in anomaly.reason
        assert (anomaly.share, anomaly.severity) == (0.75, "warning")


def test_a_limit_of_none_is_absolute_and_an_error() -> None:
    rules = infer_constraints(PROFILE)
    strict = replace(rules.columns["age"], max_out_of_range_share=0.0)
    (anomaly,) = check(
        profile(put("age", [*[20, 30] * 249, 200, 20])(WINDOW)), replace(rules, columns=rules.columns | {"age": strict})
    )
    assert (anomaly.code, anomaly.share, anomaly.limit, anomaly.severity) == ("VALUE_OUT_OF_RANGE", 1 / 500, 0, "error")
    assert anomaly.reason == "column 'age': 0.2 % of 500 are outside 18 to 89, but none may be"
    assert has_error([anomaly])
    assert Anomaly(**anomaly.to_dict()) == anomaly


def test_the_sentence_has_the_share_and_the_limit() -> None:
    rules = Constraints({"x": ColumnConstraints(max_null_share=0.015)})
    (anomaly,) = check(profile({"x": [None] * 3 + [1.0] * 7 + [2.0] * 90}), rules) or check(
        profile({"x": [None] * 30 + [1.0] * 70}), rules
    )
    assert anomaly.reason.startswith("column 'x': 30 % of 100 are null, but at most 1.5 % may be")


def test_a_column_that_need_not_be_there() -> None:
    rules = Constraints({"x": ColumnConstraints(is_required=False), "y": ColumnConstraints()})
    assert [(a.code, a.column) for a in check(profile({"z": [1.0]}), rules)] == [
        ("SCHEMA_MISSING_COLUMN", "y"),
        ("SCHEMA_NEW_COLUMN", "z"),
    ]


def test_two_thousand_windows_of_the_reference_have_no_anomaly() -> None:
    reference = build(3_000, seed=3).drop_columns(["code", "vector", "shift", "at", "empty", "same", "flag"])
    reference_profile = profile(reference)
    rules, rng, sizes = infer_constraints(reference_profile), np.random.default_rng(4), [1, 2, 5, 20, 100, 400]
    found = []
    for draw in range(2_000):
        rows = rng.choice(reference.num_rows, sizes[draw % len(sizes)], replace=False)
        window = profile_table(reference.take(rows), reference_profile.binnings, threads=1)
        found += check(window, rules)
    assert found == []


def test_windows_of_the_same_source_have_no_anomaly() -> None:
    """Other rows than the reference's: what was never seen may come, and no more of it than chance brings."""
    rules = infer_constraints(PROFILE)
    for seed in range(100, 130):
        window = build(300, seed)
        assert check(profile(window, PROFILE), rules) == ()
        assert check(profile(window), rules) == ()


def test_a_reference_has_no_anomaly_beside_itself() -> None:
    small = profile(REFERENCE.slice(0, 50))
    assert check(small, infer_constraints(small)) == ()
    assert check(PROFILE, infer_constraints(PROFILE)) == ()
