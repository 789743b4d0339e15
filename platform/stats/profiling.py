"""Owns the plain call that profiles a caller's data, whatever library holds it; starts no process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InvalidInput
from .arrays import Array, to_host
from .binning import Binning
from .columns import Type
from .device import profile_array
from .fitting import SAMPLE_ROWS, fit_binnings, numeric_binning
from .profiles import ColumnProfile, Profile
from .refining import refined
from .scan import profile_table
from .tables import Columns, as_columns


def profile(
    data: Any,
    like: Profile | Mapping[str, Binning] | None = None,
    *,
    columns: Sequence[str] | None = None,
    threads: int | None = None,
    exact: bool = False,
) -> Profile:
    """Profile a table in one pass: on its own bins, or on those of `like`, the profile of a reference.

    `data` is a table of pandas, Arrow or Polars, a NumPy, CuPy or torch matrix (rows, columns), or a mapping of
    names to vectors; arrays on a GPU are counted there. `columns` names those to profile, default all that can
    be. `exact` as in `fit_binnings`. Raises `InvalidInput` for a column that is
    missing, or of a type that does not fit.

    >>> import numpy as np
    >>> reference = profile({"age": np.array([31.0, 45.0, 45.0, 60.0])})
    >>> window = profile({"age": np.array([45.0, 99.0])}, reference)
    >>> window.columns["age"].counts.tolist()
    [0, 0, 0, 1, 0, 1, 0, 0, 0]
    """
    given = as_columns(data)
    if like is None:
        binnings = _fit(given, columns, exact)
    else:
        binnings = like.binnings if isinstance(like, Profile) else dict(like)
        if columns is not None:
            if unknown := sorted(set(columns) - binnings.keys()):
                raise InvalidInput(f"column {unknown[0]!r} is not in the reference's profile")
            binnings = {name: binnings[name] for name in columns}
    found = _on_device(given, binnings) if given.on_device else profile_table(given.table, binnings, threads)
    return _nan_as_null(found) if given.nan_is_null else found


def _fit(given: Columns, columns: Sequence[str] | None, exact: bool) -> dict[str, Binning]:
    if not given.on_device:
        return fit_binnings(given.table, columns, exact=exact)
    binnings = {}
    for name in given.on_device if columns is None else columns:
        values = _device_column(given, name)
        places = np.linspace(0, max(values.shape[0] - 1, 0), min(values.shape[0], SAMPLE_ROWS)).astype(np.int64)
        sample, type_ = to_host(values[places]), _type_of(values)
        span = None
        if values.shape[0] > SAMPLE_ROWS:
            finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            span = (float(finite.min()), float(finite.max())) if finite.shape[0] else None
        made = numeric_binning(sample.astype(np.float64), type_, span=span, exact=exact)
        binnings[name] = made if exact else refined(made, sample)
    return binnings


def _on_device(given: Columns, binnings: Mapping[str, Binning]) -> Profile:
    columns = {}
    for name, binning in binnings.items():
        values = _device_column(given, name)
        if not binning.is_ordered:
            raise InvalidInput(f"column {name!r} is on a device, but its {binning.kind} bins need it on the host")
        columns[name] = profile_array(values if values.dtype.kind == "f" else values.astype(np.float64), binning)
    return Profile(columns, given.rows)


def _device_column(given: Columns, name: str) -> Array:
    if name not in given.on_device:
        raise InvalidInput(f"the table has no column named {name!r}, but it needs exactly one")
    return given.on_device[name]


def _type_of(values: Array) -> Type:
    return "fractional" if values.dtype.kind == "f" else "integral"


def _nan_as_null(found: Profile) -> Profile:
    columns: dict[str, ColumnProfile] = {}
    for name, column in found.columns.items():
        if column.nans:
            counts = column.counts.copy()
            counts[column.binning.num_value_slots] += counts[-1]
            counts[-1] = 0
            column = replace(column, counts=counts)
        columns[name] = column
    return Profile(columns, found.rows)
