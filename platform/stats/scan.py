"""Owns the one pass over a table that makes its profile; fits no bins, judges nothing, reads no file."""

from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from array_api_compat import array_namespace

from ..errors import InvalidInput
from .arrays import Array, Prefer, array_module, to_host
from .binning import Binning
from .columns import category_values, column_of, kind_of, numeric_values
from .histogram import counts_in_bins, edges_like
from .moments import Moments
from .profile import ColumnProfile, Profile

# N = rows, B = slots

HOST_BATCH_ROWS = 131_072
"""Rows sorted at a time; 1 MiB of float64 stays in the cache."""
DEVICE_BATCH_ROWS = 8_388_608

FITTING_TYPES = {"numeric": "a number or a time", "categorical": "a string, a boolean or a dictionary"}


def numeric_profile(values_N: Array, binning: Binning, nulls: int = 0) -> ColumnProfile:
    """Profile float values of any array module; integers are the same on each, moments to rounding."""
    xp = array_namespace(values_N)
    nans = infs = 0
    finite_N, is_finite_N = values_N, xp.isfinite(values_N)
    if not bool(xp.all(is_finite_N)):
        finite_N, is_nan_N = values_N[is_finite_N], xp.isnan(values_N)
        nans = int(xp.count_nonzero(is_nan_N))
        infs = values_N.shape[0] - finite_N.shape[0] - nans
        values_N = values_N[~is_nan_N]
    counts_B = to_host(counts_in_bins(values_N, edges_like(binning.edges, values_N)))
    return ColumnProfile(binning, (*counts_B.tolist(), nulls, nans), infs, Moments.of(finite_N))


def categorical_profile(column: pa.Array, binning: Binning) -> ColumnProfile:
    """Profile a column of strings, booleans or a dictionary; unseen categories count as other."""
    text = category_values(column)
    known = pa.array(binning.categories, pa.large_string())
    slots_N = pc.index_in(text.drop_null(), value_set=known).fill_null(len(known)).to_numpy()
    counts_B = np.bincount(slots_N, minlength=len(known) + 1)
    return ColumnProfile(binning, (*counts_B.tolist(), text.null_count))


def _check_type(name: str, found: pa.DataType, binning: Binning) -> None:
    if not pa.types.is_null(found) and kind_of(found) != binning.kind:
        rule = f"its {binning.kind} bins need {FITTING_TYPES[binning.kind]}"
        raise InvalidInput(f"column {name!r} is {found}, but {rule}")


def _batches(column: pa.ChunkedArray, num_rows: int) -> Iterable[pa.Array]:
    for start in range(0, len(column), num_rows):
        part = column.slice(start, num_rows)
        yield part.chunk(0) if part.num_chunks == 1 else part.combine_chunks()


def profile_table(
    table: pa.Table | pa.RecordBatch, binnings: Mapping[str, Binning], prefer: Prefer = "auto"
) -> Profile:
    """Profile the columns that have a binning, in one pass a column; other columns are ignored.

    A column of type null fits any binning. Raises `InvalidInput` for a column that is missing or whose type
    does not fit, `Unavailable` for prefer="gpu" without a GPU.
    """
    xp = array_module(prefer)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])

    def profile_of(batch: pa.Array, binning: Binning) -> ColumnProfile:
        if pa.types.is_null(batch.type):
            batch = batch.cast(pa.float64() if binning.kind == "numeric" else pa.large_string())
        if binning.kind == "categorical":
            return categorical_profile(batch, binning)
        return numeric_profile(xp.asarray(numeric_values(batch)), binning, batch.null_count)

    columns = {}
    batch_rows = HOST_BATCH_ROWS if xp is np else DEVICE_BATCH_ROWS
    for name, binning in binnings.items():
        column = column_of(table, name)
        _check_type(name, column.type, binning)
        parts = (profile_of(batch, binning) for batch in _batches(column, batch_rows))
        columns[name] = reduce(ColumnProfile.merge, parts, ColumnProfile.empty(binning))
    return Profile(columns, table.num_rows)
