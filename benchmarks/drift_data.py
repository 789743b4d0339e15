"""Makes the tables that the drift engine is measured on, from a seed, in pieces where they are large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PIECE_ROWS = 1_000_000
SEED = 7


def frames(rows: int, columns: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A reference and a window, float64: every third column of the window is shifted, by more from one to the next."""
    generator = np.random.default_rng(SEED)
    reference = {f"c{place}": generator.normal(size=rows) for place in range(columns)}
    current = {f"c{place}": generator.normal(size=rows) for place in range(columns)}
    for place in range(0, columns, 3):
        current[f"c{place}"] += 0.06 * (place // 3 + 1)
    return pd.DataFrame(reference), pd.DataFrame(current)


def write(path: Path, rows: int, columns: int, group_rows: int = PIECE_ROWS, compression: str = "snappy") -> Path:
    """Write float32 columns, row group by row group; a file of the same shape is taken as it is."""
    if path.exists():
        return path
    generator = np.random.default_rng(SEED)
    schema = pa.schema([(f"c{place}", pa.float32()) for place in range(columns)])
    part = path.with_suffix(".part")
    with pq.ParquetWriter(part, schema, compression=compression) as writer:
        for start in range(0, rows, group_rows):
            num = min(group_rows, rows - start)
            writer.write_table(pa.table({name: _normal(generator, num) for name in schema.names}), row_group_size=num)
    part.rename(path)
    return path


def _normal(generator: np.random.Generator, rows: int) -> NDArray[np.float32]:
    return generator.standard_normal(rows, dtype=np.float32)
