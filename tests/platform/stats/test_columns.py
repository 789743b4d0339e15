"""Arrow columns become the right numbers, texts and vectors, type by type, slices too."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import kind_of
from rayloop.platform.stats.columns import category_values, is_valid, numeric_values, pieces, type_of, vectors

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
UNITS = ("s", "ms", "us", "ns")

NUMBERS = [
    (pa.array([1, None, 3], pa.int64()), "integral", [1.0, 3.0]),
    (pa.array([-1, None, 3], pa.int8()), "integral", [-1.0, 3.0]),
    (pa.array([1, 255], pa.uint8()), "integral", [1.0, 255.0]),
    (pa.array([2**53 + 1], pa.int64()), "integral", [2.0**53]),
    (pa.array([2**64 - 1], pa.uint64()), "integral", [2.0**64]),
    (pa.array([1.5, None], pa.float16()), "fractional", [1.5]),
    (pa.array([1.5, None], pa.float32()), "fractional", [1.5]),
    (pa.array([Decimal("1.25"), None]), "fractional", [1.25]),
    (pa.array([date(1970, 1, 3), None]), "timestamp", [2 * 86_400.0]),
    (pa.array([date(1969, 12, 31)], pa.date64()), "timestamp", [-86_400.0]),
    *((pa.array([timedelta(seconds=3), None], pa.duration(unit)), "duration", [3.0]) for unit in UNITS),
    *(
        (pa.array([None, NOON.replace(tzinfo=None)], pa.timestamp(unit)), "timestamp", [NOON.timestamp()])
        for unit in UNITS
    ),
    *(
        (pa.array([NOON, None], pa.timestamp(unit, zone)), "zoned timestamp", [NOON.timestamp()])
        for unit in UNITS
        for zone in ("UTC", "Asia/Tokyo")
    ),
]


def of_type(value: object) -> str:
    return str(value.type) if isinstance(value, pa.Array) else ""


@pytest.mark.parametrize(("column", "type_", "expected"), NUMBERS, ids=of_type)
def test_numbers(column: pa.Array, type_: str, expected: list[float]) -> None:
    assert type_of(column.type) == type_
    assert kind_of(column.type) == ("timestamp" if "timestamp" in type_ else "numeric")
    values_N, valid_N = numeric_values(column), is_valid(column)
    assert len(values_N) == len(column)
    assert (values_N if valid_N is None else values_N[valid_N]).tolist() == expected


@pytest.mark.parametrize(("column", "type_", "expected"), NUMBERS, ids=of_type)
@pytest.mark.parametrize("start", [0, 1, 7, 8, 9])
def test_slices_know_their_offset(column: pa.Array, type_: str, expected: list[float], start: int) -> None:
    longer = pa.concat_arrays([pa.nulls(start, column.type), column, column])
    part = longer.slice(start, len(column))
    values_N, valid_N = numeric_values(part), is_valid(part)
    assert (values_N if valid_N is None else values_N[valid_N]).tolist() == expected


def test_floats_keep_their_precision_and_their_memory() -> None:
    narrow = pa.array([1.0, 2.0], pa.float32())
    assert numeric_values(narrow).dtype == np.float32
    assert numeric_values(narrow).ctypes.data == narrow.buffers()[1].address
    assert numeric_values(pa.array([1], pa.int16())).dtype == np.float32
    assert numeric_values(pa.array([1], pa.int32())).dtype == np.float64


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None]), ["a", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array([7, None]).dictionary_encode(), ["7", None]),
        (pa.array([True, None]).dictionary_encode(), ["true", None]),
        (pa.DictionaryArray.from_arrays([0, 1, 1], pa.array([None, "b"])), [None, "b", "b"]),
        (pa.DictionaryArray.from_arrays([0, None], pa.array(["a"], pa.string_view())), ["a", None]),
    ],
    ids=of_type,
)
def test_categories(column: pa.Array, expected: list[str | None]) -> None:
    assert kind_of(column.type) == "categorical"
    assert category_values(column).to_pylist() == expected
    assert category_values(pa.chunked_array([column, column])).to_pylist() == expected * 2
    assert category_values(column.slice(1)).to_pylist() == expected[1:]


def test_booleans() -> None:
    column = pa.array([True, None, False])
    assert (kind_of(column.type), type_of(column.type)) == ("boolean", "boolean")
    assert category_values(column).to_pylist() == ["true", None, "false"]


@pytest.mark.parametrize(
    "type_",
    [pa.list_(pa.float32()), pa.large_list(pa.int16()), pa.list_(pa.float64(), 2), pa.list_(pa.float16())],
    ids=str,
)
def test_vectors(type_: pa.DataType) -> None:
    column = pa.array([[9, 9], [1, 2], None, [3, 4], [9, 9]], type_)
    assert (kind_of(type_), type_of(type_)) == ("embedding", "vector")
    assert vectors(column.slice(1, 3)).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert vectors(column.slice(2, 1), width=2).shape == (0, 2)
    with pytest.raises(InvalidInput, match="a vector has 2 numbers, but every vector of its column must have 3"):
        vectors(column, width=3)


def test_vectors_of_several_widths_are_refused_and_holes_are_nan() -> None:
    with pytest.raises(InvalidInput, match="a vector has 1 numbers, but every vector of its column must have 2"):
        vectors(pa.array([[1.0, 2.0], [3.0]]))
    assert np.isnan(vectors(pa.array([[1.0, None]]))[0, 1])
    assert np.isnan(vectors(pa.array([[1, None]]))[0, 1])


@pytest.mark.parametrize(
    "arrow_type",
    [pa.null(), pa.list_(pa.string()), pa.binary(), pa.struct([]), pa.time32("s"), pa.list_(pa.list_(pa.int8()))],
    ids=str,
)
def test_other_types_have_no_bins(arrow_type: pa.DataType) -> None:
    assert kind_of(arrow_type) is None


def test_pieces_keep_the_order() -> None:
    column = pa.chunked_array([[1, 2, 3], [], [4, 5]])
    assert [piece.to_pylist() for piece in pieces(column, 2)] == [[1, 2], [3], [4, 5]]
