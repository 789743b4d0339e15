"""Owns the file of a profile: Parquet, one row a column; it knows what to write and nothing of what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InvalidInput
from .binning import Basis, Binning
from .distinct import DistinctSketch
from .embedding import VectorSums
from .frequent import FrequentTexts
from .moments import Moments
from .profiles import ColumnProfile, Profile

FORMAT = 2
_FORMAT_KEY, _ROWS_KEY = b"rayloop.profile.format", b"rayloop.profile.rows"

_NUMBERS = pa.list_(pa.float64())
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("type", pa.string()),
        ("is_discrete", pa.bool_()),
        ("edges", _NUMBERS),
        ("categories", pa.list_(pa.string())),
        ("counts", pa.list_(pa.int64())),
        ("moments", pa.struct([(name, pa.float64()) for name in ("min", "max", "mean", "m2")])),
        ("numbers", pa.int64()),
        ("below", pa.float64()),
        ("above", pa.float64()),
        ("distinct", pa.binary()),
        ("unseen_texts", pa.list_(pa.string())),
        ("unseen_counts", pa.list_(pa.int64())),
        ("unseen_error", pa.int64()),
        ("unseen_total", pa.int64()),
        ("basis", _NUMBERS),
        ("centre", _NUMBERS),
        ("vectors", pa.int64()),
        ("vector_sums", _NUMBERS),
        ("feature_sums", _NUMBERS),
    ]
)


def write_profile(profile: Profile) -> bytes:
    """Return the file: equal profiles give equal bytes under one version of pyarrow."""
    rows = [_row(name, column) for name, column in profile.columns.items()]
    metadata = {_FORMAT_KEY: str(FORMAT).encode(), _ROWS_KEY: str(profile.rows).encode()}
    table = pa.Table.from_pylist(rows, _SCHEMA.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_statistics=False, write_page_checksum=True)
    return bytes(sink.getvalue())


def read_profile(content: bytes) -> Profile:
    """Read what `write_profile` wrote; `InvalidInput` for another format or anything else."""
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:  # OSError is what Arrow says of broken bytes
        raise InvalidInput(f"this is not the file of a profile: {error}") from None
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    found = metadata.get(_FORMAT_KEY, b"none").decode()
    if found != str(FORMAT):
        raise InvalidInput(f"the profile has format {found}, but only {FORMAT} can be read")
    try:
        columns = {row["name"]: _column(row) for row in table.to_pylist()}
        return Profile(columns, int(metadata[_ROWS_KEY]))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"this is not the file of a profile: {error!r}") from error


def _row(name: str, column: ColumnProfile) -> dict[str, Any]:
    binning, moments, sums = column.binning, column.moments, column.vectors
    basis = binning.basis
    return {
        "name": name,
        "type": binning.type,
        "is_discrete": binning.is_discrete,
        "edges": binning.edges,
        "categories": binning.categories,
        "counts": column.counts.tolist(),
        "moments": {"min": moments.min, "max": moments.max, "mean": moments.mean, "m2": moments.m2},
        "numbers": moments.count,
        "below": column.below,
        "above": column.above,
        "distinct": column.distinct.hashes_H.astype("<u8").tobytes(),
        "unseen_texts": list(column.unseen.counts),
        "unseen_counts": list(column.unseen.counts.values()),
        "unseen_error": column.unseen.error,
        "unseen_total": column.unseen.total,
        "basis": None if basis is None else [basis.bandwidth, basis.null_mean, basis.null_variance],
        "centre": None if basis is None else basis.centre,
        "vectors": None if sums is None else sums.count,
        "vector_sums": None if sums is None else sums.vectors_W.tolist(),
        "feature_sums": None if sums is None else sums.features_R.tolist(),
    }


def _column(row: Mapping[str, Any]) -> ColumnProfile:
    basis = None if row["basis"] is None else Basis(tuple(row["centre"]), *row["basis"])
    binning = Binning(row["type"], tuple(row["edges"]), tuple(row["categories"]), basis, row["is_discrete"])
    moments = Moments(row["numbers"], **row["moments"])
    counts = dict(zip(row["unseen_texts"], row["unseen_counts"], strict=True))
    sums = None
    if row["vectors"] is not None:
        sums = VectorSums(row["vectors"], np.array(row["vector_sums"]), np.array(row["feature_sums"]))
    return ColumnProfile(
        binning,
        np.array(row["counts"], dtype=np.int64),
        moments,
        row["below"],
        row["above"],
        DistinctSketch(np.frombuffer(row["distinct"], dtype="<u8").astype(np.uint64)),
        FrequentTexts(counts, row["unseen_error"], row["unseen_total"]),
        sums,
    )
