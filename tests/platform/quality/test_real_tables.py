"""One half of a real table keeps what the other keeps, and a join that lost rows or a wrong unit shows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rayloop.platform.quality import check, infer_constraints, window_anomalies
from rayloop.platform.stats import profile

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def halves(path: str) -> tuple[pa.Table, pa.Table]:
    if not (DATA / path).exists():
        pytest.skip(f"the real data set {path} is not beside this checkout")
    table = pq.read_table(DATA / path)
    order = np.random.default_rng(0).permutation(table.num_rows)
    return table.take(order[: table.num_rows // 2]), table.take(order[table.num_rows // 2 :])


@pytest.mark.parametrize(
    "name",
    ["adult/adult", "german_credit/german", "bike_sharing/day", "wine_quality/wine_quality", "electricity/electricity"],
)
def test_halves_keep_the_same(name: str) -> None:
    one, other = halves(f"{name}.parquet")
    reference = profile(one)
    assert check(profile(other), infer_constraints(reference), other.schema) == ()
    assert window_anomalies(reference, profile(other, reference), other.schema) == ()


def test_what_is_spoilt_is_named() -> None:
    one, other = halves("adult/adult.parquet")
    place = other.column_names.index
    spoilt = other.set_column(place("age"), "age", pc.multiply(other["age"], 12))  # in months
    spoilt = spoilt.set_column(place("sex"), "sex", pc.utf8_upper(other["sex"].cast(pa.string())))
    lost = pa.array(np.arange(other.num_rows) % 3 == 0)
    spoilt = spoilt.set_column(place("race"), "race", pc.if_else(lost, None, other["race"].cast(pa.string())))
    found = check(profile(spoilt), infer_constraints(profile(one)), spoilt.schema)
    assert {(anomaly.code, anomaly.column) for anomaly in found} == {
        ("VALUE_OUT_OF_RANGE", "age"),
        ("CATEGORY_UNKNOWN", "sex"),
        ("NULLS_ABOVE_REFERENCE", "race"),
    }
