"""The second stage sees what no single column shows, names the columns, and is quiet without a change."""

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import compare, multivariate_drift, profile


def rows(seed: int, num: int, correlation: float = 0.9, city: float = 0.5) -> pa.Table:
    generator = np.random.default_rng(seed)
    x, noise = generator.normal(size=num), generator.normal(size=num)
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    return pa.table(
        {
            "x": pa.array(x, mask=generator.uniform(size=num) < 0.05),
            "y": y,
            "other": np.where(generator.uniform(size=num) < 0.01, np.inf, generator.normal(size=num)),
            "city": generator.choice(["rome", "oslo"], num, p=[city, 1 - city]),
            "flag": generator.uniform(size=num) < 0.5,
            "constant": np.ones(num),
        }
    )


def test_a_lost_correlation_that_no_column_shows() -> None:
    reference, current = rows(0, 2_000), rows(1, 1_500, correlation=-0.9)
    known = profile(reference)
    assert compare(known, profile(current, known)).drifted == ()
    found = multivariate_drift(reference, current)
    assert found["verdict"] == "drift"
    assert found["classifier"]["auc"] > 0.8
    assert {one["column"] for one in found["classifier"]["by"]} == {"x", "y"}
    assert found["reconstruction"]["verdict"] == "drift"
    assert found["reconstruction"]["error"] > found["reconstruction"]["high"]


def test_a_moved_category_is_named() -> None:
    found = multivariate_drift(rows(0, 2_000), rows(1, 2_000, city=0.9))
    assert found["classifier"]["by"][0]["column"] == "city"
    assert found["classifier"]["verdict"] == "drift"


def test_the_same_source_is_quiet_and_the_seed_decides() -> None:
    first, again = (multivariate_drift(rows(0, 1_500), rows(1, 1_500), seed=4) for _ in range(2))
    assert first == again
    assert first["verdict"] == "none"
    assert abs(first["classifier"]["auc"] - 0.5) < 0.05


def test_few_rows_and_odd_columns() -> None:
    short = multivariate_drift(rows(0, 500), rows(1, 50))
    assert (short["verdict"], short["classifier"]) == ("too_few_rows", None)
    assert multivariate_drift(rows(0, 500), rows(1, 0))["verdict"] == "too_few_rows"
    for columns in (["nobody"], []):
        if columns:
            with pytest.raises(InvalidInput, match="'nobody'"):
                multivariate_drift(rows(0, 300), rows(1, 300), columns)
    flat = multivariate_drift(rows(0, 300), rows(1, 300), ["constant"])
    assert flat["verdict"] == "none"
    assert "constant" in flat["reason"]
    nothing = pa.table({"x": pa.nulls(300, pa.float64()), "y": np.random.default_rng(0).normal(size=300)})
    found = multivariate_drift(nothing, nothing)
    assert found["verdict"] == "none"
