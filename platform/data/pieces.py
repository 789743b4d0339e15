"""Reads an open Parquet file in pieces whose size no number of rows changes; it knows no snapshot and no source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PIECE_ROWS = 131_072
"""As many as Arrow itself puts in a chunk when it reads a file whole: sums over chunks then round alike."""
PIECE_BYTES = 64 << 20
"""Decoded, as the file says; rows of pictures come in smaller pieces."""
BUFFER_BYTES = 1 << 20


def read_pieces(
    opened: Any, *, is_local: bool, groups: Sequence[int] | None = None, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of some row groups (default all), in order; no piece has rows of two of them.

    A local file is read through a small buffer for each column, so that a row group may have any size. Behind a
    network each buffer would be a request: there a row group's columns are fetched together, compressed.
    """
    file = pq.ParquetFile(opened, pre_buffer=not is_local, buffer_size=BUFFER_BYTES if is_local else 0)
    names = file.schema_arrow.names if columns is None else list(columns)
    for number in range(file.metadata.num_row_groups) if groups is None else groups:
        rows = _rows_of_piece(file.metadata.row_group(number), set(names))
        for batch in file.iter_batches(rows, row_groups=[number], columns=names):
            table = pa.Table.from_batches([batch])
            # Arrow takes a column's name for the beginning of others' too.
            yield table if table.column_names == names else table.select(names)


def _rows_of_piece(group: pq.RowGroupMetaData, names: set[str]) -> int:
    columns = [group.column(place) for place in range(group.num_columns)]
    size: int = sum(
        column.total_uncompressed_size for column in columns if column.path_in_schema.split(".")[0] in names
    )
    fitting: int = PIECE_BYTES * group.num_rows // max(1, size)
    return max(1, min(PIECE_ROWS, fitting))
