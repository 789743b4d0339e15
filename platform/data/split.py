"""Parts rows into train, validation and test, the same way on every machine and after every appended file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..project import DataConfig

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

BLOCK_ROWS = 1 << 20
"""Rows parted at a time: it takes ten times the memory of their keys."""

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def assign_parts(table: pa.Table, config: DataConfig, row_keys: Sequence[tuple[str, int]]) -> NDArray[np.int8]:
    """Part of each row, shape (rows,), as an index into PARTS.

    By key, a row's part depends on its key alone, so new rows never move old ones. `row_keys` (hash and
    rows of each file) stand in where no key column is named.
    """
    if config.split.by == "time":
        assert config.time is not None
        return _by_time(table.column(config.time), config)
    hashes = _file_row_hashes(row_keys) if config.key is None else _hashes_of(table.column(config.key))
    parts = np.concatenate([_by_hash(block, config) for block in hashes])
    _all_parts_present(parts)
    return parts


def _by_hash(hashes: NDArray[np.uint64], config: DataConfig) -> NDArray[np.int8]:
    share = (hashes >> np.uint64(11)).astype(np.float64) / float(1 << 53)  # uniform in [0, 1)
    test, validation = config.split.test, config.split.validation
    return np.where(share < test, 2, np.where(share < test + validation, 1, 0)).astype(np.int8)


def key_hashes(values: pa.ChunkedArray) -> NDArray[np.uint64]:
    """A 64-bit hash of each key: splitmix64 of whole numbers, BLAKE2b of the text of anything else."""
    kind = values.type
    if pa.types.is_integer(kind):
        whole: NDArray[np.uint64] = values.to_numpy().astype(np.int64).view(np.uint64)
        return _splitmix64(whole)
    encoded = values.cast(pa.string()).combine_chunks().dictionary_encode()
    distinct = [_text_hash(text) for text in encoded.dictionary.to_pylist()]
    hashes_by_code: NDArray[np.uint64] = np.asarray(distinct, dtype=np.uint64)
    codes: NDArray[np.int32] = encoded.indices.to_numpy(zero_copy_only=False)
    return hashes_by_code[codes]


def _hashes_of(values: pa.ChunkedArray) -> Iterator[NDArray[np.uint64]]:
    for first in range(0, len(values), BLOCK_ROWS):
        yield key_hashes(values.slice(first, BLOCK_ROWS))


def _file_row_hashes(row_keys: Sequence[tuple[str, int]]) -> Iterator[NDArray[np.uint64]]:
    for digest, rows in row_keys:
        for first in range(0, rows, BLOCK_ROWS):
            places = np.arange(first, min(rows, first + BLOCK_ROWS), dtype=np.uint64)
            yield _splitmix64(places ^ np.uint64(int(digest[:16], 16)))


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Steele, Lea and Flood (2014): a bijection of 64-bit words that passes BigCrush."""
    with np.errstate(over="ignore"):
        z = values + _MIX[0]
        z = (z ^ (z >> np.uint64(30))) * _MIX[1]
        z = (z ^ (z >> np.uint64(27))) * _MIX[2]
        return z ^ (z >> np.uint64(31))


def _by_time(times: pa.ChunkedArray, config: DataConfig) -> NDArray[np.int8]:
    """Rows of one moment stay together: a part begins with the first row of its moment."""
    if pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
        order = pc.rank(times, tiebreaker="min").to_numpy().astype(np.int64)
    else:
        order = times.to_numpy().astype("int64") if pa.types.is_temporal(times.type) else times.to_numpy()
    sorted_times = np.sort(order)
    rows = len(sorted_times)
    test_from = sorted_times[min(rows - 1, round(rows * (1 - config.split.test)))]
    validation_from = sorted_times[min(rows - 1, round(rows * (1 - config.split.test - config.split.validation)))]
    parts = np.where(order >= test_from, 2, np.where(order >= validation_from, 1, 0)).astype(np.int8)
    _all_parts_present(parts)
    return parts


def _all_parts_present(parts: NDArray[np.int8]) -> None:
    counts = np.bincount(parts, minlength=3)
    for part, count in zip(PARTS, counts, strict=True):
        if count == 0:
            raise InvalidInput(f"the split leaves no row for {part}: {len(parts)} rows are too few for data.split")
