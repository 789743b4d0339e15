"""A profile's file keeps every number, and other files are refused with a sentence."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.stats import Profile, fit_binnings, profile, profile_table, read_profile, write_profile

TABLE = pa.table(
    {
        "x": [0.1, 1 / 3, None, np.nan, -np.inf, 5e-324, 1e300],
        "n": pa.array([1, 2, 3, 4, 5, 6, None], pa.int32()),
        "s": ["a", "ü", None, "", "a", "b", "c"],
        "flag": [True, None, False, True, True, True, True],
        "t": pa.array([0, 1, 2, 3, 4, 5, None], pa.timestamp("ms", "UTC")),
        "v": [[1.0, 2.0], [3.0, 4.0], None, [np.nan, 0.0], [5.0, 6.0], [1.0, 1.0], [0.0, 0.0]],
        "none": [np.nan] * 7,
    }
)


def everything(found: Profile) -> dict[str, object]:
    return {
        name: (
            column.binning,
            column.counts.dtype.name,
            column.counts.tolist(),
            column.moments,
            (column.below, column.above),
            column.distinct.hashes_H.tolist(),
            column.unseen,
            column.vectors
            and (column.vectors.count, column.vectors.vectors_W.tolist(), column.vectors.features_R.tolist()),
        )
        for name, column in found.columns.items()
    } | {"rows": found.rows}


def window() -> Profile:
    binnings = fit_binnings(TABLE.slice(0, 4))
    return profile_table(TABLE, binnings)


@pytest.mark.parametrize("found", [profile(TABLE), window(), Profile.empty(fit_binnings(TABLE)), Profile({}, 3)])
def test_round_trip_is_exact(found: Profile) -> None:
    content = write_profile(found)
    assert everything(read_profile(content)) == everything(found)
    assert write_profile(read_profile(content)) == content


def test_a_read_profile_goes_on_adding() -> None:
    found = window()
    again = read_profile(write_profile(found))
    assert again.merge(found).rows == 14
    assert again.merge(profile(TABLE, again)).columns["s"].unseen.counts == {"b": 2, "c": 2}


def test_extremes() -> None:
    table = pa.table({"x": [None, -1.7e308, 1.7e308, 5e-324]})
    found = profile(pa.table({"x": [1.7e308, -1.7e308, 1.7e308]}), profile(table))
    assert everything(read_profile(write_profile(found))) == everything(found)


def file_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def with_metadata(**changes: str) -> bytes:
    table = pq.read_table(pa.BufferReader(write_profile(window())))
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    return file_of(table.replace_schema_metadata(metadata | {f"rayloop.profile.{k}": v for k, v in changes.items()}))


def broken_in_the_middle() -> bytes:
    content = bytearray(write_profile(window()))
    content[40:60] = bytes(20)
    return bytes(content)


def without(name: str) -> bytes:
    table = pq.read_table(pa.BufferReader(write_profile(window())))
    return file_of(table.drop_columns(name))


def with_counts_of_zero() -> bytes:
    table = pq.read_table(pa.BufferReader(write_profile(window())))
    zeros = pa.array([[0] * len(counts) for counts in table["counts"].to_pylist()], pa.list_(pa.int64()))
    return file_of(table.set_column(table.schema.get_field_index("counts"), "counts", zeros))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not the file of a profile"),
        (json.dumps({"format": 1, "columns": {}}).encode(), "not the file of a profile"),
        (write_profile(window())[:-9], "not the file of a profile"),
        (broken_in_the_middle(), "not the file of a profile"),
        (file_of(pa.table({"x": [1]})), "the profile has format none, but only 2 can be read"),
        (with_metadata(format="3"), "the profile has format 3, but only 2 can be read"),
        (with_metadata(rows="6"), "column 'x' has 7 rows, but the profile has 6"),
        (with_metadata(rows="many"), "not the file of a profile"),
        (without("edges"), "not the file of a profile"),
        (with_counts_of_zero(), "has 0 rows, but the profile has 7"),
    ],
)
def test_other_files_are_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        read_profile(content)
