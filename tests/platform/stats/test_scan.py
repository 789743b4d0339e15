"""One pass over a table counts every row once, whatever its batches, threads, types and order."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.stats import TableTally, fit_binnings, misfit, profile, profile_table, scan

REFERENCE = pa.table({"x": [0.0, 1.0, 2.0], "s": ["a", "b", "a"], "flag": [True, False, None]})
BINNINGS = fit_binnings(REFERENCE)


def test_every_special_value_is_counted_in_its_place() -> None:
    x = [None, np.nan, np.nan, np.inf, -np.inf, -np.inf, 0.0, 0.5, 2.0, 7.0, -7.0, None]
    s = ["a", None, "new", "newer", "b", "", "a", "a", None, "A", "b", "new"]
    flag = [True, None] * 6
    found = profile_table(pa.table({"x": x, "s": s, "flag": flag}), BINNINGS)
    column = found.columns["x"]
    assert column.counts.tolist() == [2, 1, 1, 1, 1, 1, 1, 2, 2]
    assert (column.nulls, column.nans, column.infs, column.count) == (2, 2, 3, 12)
    assert (column.negative_infs, column.positive_infs) == (2, 1)
    assert (column.min, column.max, column.mean) == (-7.0, 7.0, 0.5)
    assert column.m2 == pytest.approx(101.0)
    assert column.std == pytest.approx(np.std([0, 0.5, 2, 7, -7], ddof=1))
    assert (column.below, column.above) == (pytest.approx(7.0), pytest.approx(5.0))
    assert column.distinct.estimate == 5
    texts = found.columns["s"]
    assert texts.counts.tolist() == [3, 2, 5, 2]
    assert (texts.nulls, texts.nans, texts.other) == (2, 0, 5)
    assert texts.unseen.counts == {"new": 2, "": 1, "A": 1, "newer": 1}
    assert texts.distinct.estimate == 6
    assert found.columns["flag"].counts.tolist() == [0, 6, 0, 6]
    assert found.rows == 12


def table_of(num: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.choice([-7.0, 0.0, 0.5, 2.0, 9.0, np.nan, np.inf, -np.inf], num)
    return pa.table(
        {
            "x": pa.array(x, mask=rng.random(num) < 0.1),
            "n": pa.array(x.astype(np.float32), mask=rng.random(num) < 0.1),
            "s": pa.array(rng.choice(["a", "b", "z", "yy"], num), mask=rng.random(num) < 0.1),
            "flag": pa.array(rng.random(num) < 0.5, mask=rng.random(num) < 0.1),
        }
    )


def test_batches_chunks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(1_003)
    binnings = fit_binnings(table.slice(0, 100))
    whole = profile_table(table, binnings, threads=1)
    monkeypatch.setattr(scan, "BATCH_ROWS", 7)
    monkeypatch.setattr(scan, "PART_ROWS", 64)
    chunked = pa.concat_tables([table.slice(0, 3), table.slice(3, 60), table.slice(63)])
    for other in (table, chunked, table.combine_chunks().to_batches()[0], table.take(np.arange(1_003)[::-1])):
        for threads in (1, 2, 8):
            found = profile_table(other, binnings, threads)
            for name, column in whole.columns.items():
                assert found.columns[name].counts.tolist() == column.counts.tolist()
                assert found.columns[name].distinct == column.distinct
                assert found.columns[name].unseen == column.unseen
                assert found.columns[name].m2 == pytest.approx(column.m2, rel=1e-9)


@pytest.mark.parametrize("start", [1, 7, 8, 63])
def test_slices_are_counted_by_their_own_rows(start: int) -> None:
    table = table_of(300)
    binnings = fit_binnings(table)
    part = table.slice(start, 200)
    copied = pa.Table.from_pylist(part.to_pylist(), table.schema)
    one, other = profile_table(part, binnings), profile_table(copied, binnings)
    for name, column in one.columns.items():
        assert column.counts.tolist() == other.columns[name].counts.tolist()


def test_integers_and_times_of_every_width() -> None:
    for type_ in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        column = profile(pa.table({"x": pa.array([5, None, 1, 1], type_)})).columns["x"]
        assert (column.binning.type, column.counts.tolist()) == ("integral", [0, 0, 2, 1, 0, 0, 1, 0])
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "UTC", "America/New_York"):
            value = noon if zone else noon.replace(tzinfo=None)
            column = profile(pa.table({"t": pa.array([value, None, value], pa.timestamp(unit, zone))})).columns["t"]
            assert column.binning.kind == "timestamp"
            assert (column.min, column.max, column.nulls) == (noon.timestamp(), noon.timestamp(), 1)


def test_times_of_other_units_fall_into_the_same_bins_and_other_zones_do_not_fit() -> None:
    seconds = profile(pa.table({"t": pa.array([0, 60], pa.timestamp("s"))}))
    micros = profile(pa.table({"t": pa.array([60_000_000, None], pa.timestamp("us"))}), seconds)
    assert micros.columns["t"].counts.tolist() == [0, 0, 0, 1, 0, 0, 1, 0]
    dates = profile(pa.table({"t": [date(1970, 1, 1)]}), seconds)
    assert dates.columns["t"].counts.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    with pytest.raises(InvalidInput, match=r"column 't' is timestamp\[s, tz=UTC\], but the times .* have no time zone"):
        profile(pa.table({"t": pa.array([0], pa.timestamp("s", "UTC"))}), seconds)
    zoned = profile(pa.table({"t": pa.array([0], pa.timestamp("s", "UTC"))}))
    assert profile(pa.table({"t": pa.array([0], pa.timestamp("ms", "Asia/Tokyo"))}), zoned).rows == 1
    with pytest.raises(InvalidInput, match="have a time zone"):
        profile(pa.table({"t": pa.array([0], pa.timestamp("s"))}), zoned)


def test_dictionaries_with_unused_null_and_double_entries() -> None:
    def counts(indices: list[int | None], entries: list[str | None], type_: pa.DataType) -> list[int]:
        column = pa.DictionaryArray.from_arrays(indices, pa.array(entries, type_))
        found = profile_table(pa.table({"s": column}), {"s": BINNINGS["s"]}).columns["s"]
        assert found.unseen.total == found.other == sum(found.unseen.counts.values())
        return found.counts.tolist()

    for type_ in (pa.string(), pa.large_string(), pa.string_view()):
        assert counts([0, None, 2], ["a", "unused", "new"], type_) == [1, 0, 1, 1]
        assert counts([0, 1, 1, None], ["b", None], type_) == [0, 1, 0, 3]
        assert counts([0, 1, 2, 3, 3], ["new", "a", "new", "a"], type_) == [3, 0, 2, 0]


def test_string_views_are_counted() -> None:
    column = pa.array(["a", None, "new", "a"], pa.string_view())
    assert profile_table(pa.table({"s": column}), {"s": BINNINGS["s"]}).columns["s"].counts.tolist() == [2, 0, 1, 1]


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.large_list(pa.int32())], ids=str
)
def test_vectors_are_counted_by_their_distance(type_: pa.DataType) -> None:
    reference = profile(pa.table({"v": pa.array([[0, 0], [2, 0], [0, 2], [2, 2]], type_)}))
    centre, width = (1.0, 1.0), 2
    assert reference.columns["v"].binning.basis is not None
    assert reference.columns["v"].binning.basis.centre == centre
    table = pa.table({"v": pa.array([[9, 9], [0, 0], None, [101, 1], [1, 1]], type_)}).slice(1)
    found = profile(table, reference).columns["v"]
    assert found.counts.tolist() == [0, 1, 1, 1, 0, 1, 0]
    assert found.vectors is not None
    assert (found.vectors.count, found.vectors.vectors_W.tolist()) == (3, [102.0, 2.0])
    assert len(found.vectors.vectors_W) == width


def test_a_list_of_another_width_and_not_finite_vectors() -> None:
    reference = profile(pa.table({"v": [[0.0, 0.0], [2.0, 0.0]]}))
    with pytest.raises(InvalidInput, match=r"column 'v': a vector has 3 numbers, but every vector .* must have 2"):
        profile(pa.table({"v": [[0.0, 0.0], [1.0, 2.0, 3.0]]}), reference)
    found = profile(pa.table({"v": [[np.nan, 0.0], [np.inf, 0.0], [1.0, None], [1.0, 0.0]]}), reference).columns["v"]
    assert (found.nans, found.positive_infs, found.nulls, found.count) == (2, 1, 0, 4)
    assert found.vectors is not None
    assert found.vectors.count == 1


def test_a_column_of_nothing_but_nulls_fits_any_bins() -> None:
    reference = profile(REFERENCE.append_column("v", pa.array([[1.0], [2.0], [3.0]])))
    nothing = pa.table({name: pa.nulls(4) for name in reference.columns})
    assert [column.nulls for column in profile(nothing, reference).columns.values()] == [4, 4, 4, 4]


def test_missing_twice_and_unfit_columns_are_named() -> None:
    with pytest.raises(InvalidInput, match="no column named 'x'"):
        profile_table(REFERENCE.drop_columns("x"), BINNINGS)
    twice = pa.table([[0.0], [1.0]], names=["x", "x"])
    with pytest.raises(InvalidInput, match="2 columns named 'x'"):
        profile_table(twice, {"x": BINNINGS["x"]})
    with pytest.raises(InvalidInput, match="column 'x' is string, but its numeric bins need a number or a duration"):
        profile_table(pa.table({"x": ["1"]}), {"x": BINNINGS["x"]})
    with pytest.raises(InvalidInput, match="column 's' is int64, but its categorical bins need a string"):
        profile_table(pa.table({"s": [1]}), {"s": BINNINGS["s"]})


def test_what_fits() -> None:
    assert misfit(pa.null(), BINNINGS["s"]) is None
    assert misfit(pa.int8(), BINNINGS["x"]) is None
    assert misfit(pa.binary(), BINNINGS["s"]) == "is binary, but its categorical bins need a string or a dictionary"
    assert misfit(pa.string(), BINNINGS["flag"]) == "is string, but its boolean bins need a boolean"


def test_a_tally_goes_on_after_a_refused_column() -> None:
    tally = TableTally({"x": BINNINGS["x"]})
    tally.add_column("x", pa.chunked_array([[0.0, 1.0]]))
    with pytest.raises(InvalidInput):
        tally.add_column("x", pa.chunked_array([["a"]]))
    tally.add_column("x", pa.chunked_array([[2.0]]))
    assert tally.profile().rows == 3


def test_gpu_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(Unavailable):
        profile_table(REFERENCE, BINNINGS, prefer="gpu")
