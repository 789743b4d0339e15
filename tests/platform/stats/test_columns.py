"""Arrow columns become the right numbers and strings, type by type."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.stats import kind_of
from rayloop.platform.stats.columns import category_values, numeric_values

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3], pa.int64()), [1.0, 3.0]),
        (pa.array([1, 255], pa.uint8()), [1.0, 255.0]),
        (pa.array([1.5, None], pa.float16()), [1.5]),
        (pa.array([2**53 + 1], pa.int64()), [2.0**53]),
        (pa.array([Decimal("1.25")]), [1.25]),
        (pa.array([date(1970, 1, 3), None]), [2 * 86_400.0]),
        (pa.array([date(1969, 12, 31)], pa.date64()), [-86_400.0]),
        (pa.array([timedelta(milliseconds=1_500)], pa.duration("ms")), [1.5]),
        *((pa.array([NOON], pa.timestamp(unit, "UTC")), [NOON.timestamp()]) for unit in ("s", "ms", "us", "ns")),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_numbers(column: pa.Array, expected: list[float]) -> None:
    assert kind_of(column.type) == "numeric"
    values = numeric_values(column)
    assert values.tolist() == expected
    assert numeric_values(pa.chunked_array([column, column])).tolist() == expected * 2


def test_floats_keep_their_precision() -> None:
    assert numeric_values(pa.array([1.0], pa.float32())).dtype == np.float32
    assert numeric_values(pa.array([1], pa.int16())).dtype == np.float32
    assert numeric_values(pa.array([1], pa.int32())).dtype == np.float64


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None]), ["a", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array([7, None]).dictionary_encode(), ["7", None]),
        (pa.DictionaryArray.from_arrays([0, 1], pa.array([None, "b"])), [None, "b"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_categories(column: pa.Array, expected: list[str | None]) -> None:
    assert kind_of(column.type) == "categorical"
    assert category_values(column).to_pylist() == expected
    assert category_values(pa.chunked_array([column, column])).to_pylist() == expected * 2


@pytest.mark.parametrize("arrow_type", [pa.null(), pa.list_(pa.int8()), pa.binary(), pa.struct([])])
def test_other_types_have_no_bins(arrow_type: pa.DataType) -> None:
    assert kind_of(arrow_type) is None
