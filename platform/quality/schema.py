"""Owns what a table's schema says before a row is counted: columns that are missing, new, or of another type."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from ..stats import Profile, misfit
from ..stats.binning import Binning
from ..stats.columns import Type, type_of
from .anomaly import Anomaly, make_anomaly


def check_schema(schema: pa.Schema, profile: Profile) -> tuple[Anomaly, ...]:
    """Hold the columns of a table against those of a reference's profile.

    A new column counts only where it could be profiled: what could not is in no profile.
    """
    found: list[Anomaly] = []
    times = Counter(schema.names)
    for name, column in profile.columns.items():
        if name not in times:
            found.append(missing_column(name))
        elif times[name] > 1:
            reason = f"column {name!r} is there {times[name]} times, but a name must be there once"
            found.append(make_anomaly("SCHEMA_DUPLICATE_COLUMN", reason, name))
        elif (anomaly := _type_anomaly(name, schema.field(name).type, column.binning)) is not None:
            found.append(anomaly)
    new = [name for name in times if name not in profile.columns]
    found += [new_column(name) for name in new if type_of(schema.field(schema.names.index(name)).type) is not None]
    return tuple(found)


def countable_columns(schema: pa.Schema, profile: Profile) -> list[str]:
    """The reference's columns that a table of this schema can be counted on."""
    times = Counter(schema.names)
    binnings = profile.binnings
    return [name for name in binnings if times[name] == 1 and misfit(schema.field(name).type, binnings[name]) is None]


def missing_column(name: str) -> Anomaly:
    """The reference has a column that the data lacks."""
    return make_anomaly("SCHEMA_MISSING_COLUMN", f"column {name!r} is missing, but the reference has it", name)


def new_column(name: str) -> Anomaly:
    """The data have a column that the reference lacks."""
    return make_anomaly("SCHEMA_NEW_COLUMN", f"column {name!r} is new: the reference has none of that name", name)


def changed_type(name: str, found: Type, wanted: Type) -> Anomaly | None:
    """Say where a type is another one than the reference's; whole numbers may stand for any."""
    if found == wanted or (found == "integral" and wanted == "fractional"):
        return None
    if {found, wanted} == {"timestamp", "zoned timestamp"}:
        has, had = ("a", "none") if found == "zoned timestamp" else ("no", "one")
        return make_anomaly("TIME_ZONE_CHANGED", f"column {name!r} has {has} time zone, but had {had}", name)
    return make_anomaly("TYPE_CHANGED", f"column {name!r} is {found}, but was {wanted}", name)


def _type_anomaly(name: str, found: pa.DataType, binning: Binning) -> Anomaly | None:
    if pa.types.is_null(found):
        return None
    type_ = type_of(found)
    if type_ is None:
        return make_anomaly("TYPE_CHANGED", f"column {name!r} {misfit(found, binning)}", name)
    if pa.types.is_fixed_size_list(found) and binning.basis is not None:
        return changed_width(name, found.list_size, len(binning.basis.centre))
    # A date has no zone to differ in.
    if pa.types.is_date(found) and binning.kind == "timestamp":
        return None
    return changed_type(name, type_, binning.type)


def changed_width(name: str, found: int, wanted: int) -> Anomaly | None:
    """Say where vectors are of another width than the reference's."""
    if found == wanted:
        return None
    reason = f"column {name!r} holds vectors of {found} numbers, but held {wanted}"
    return make_anomaly("VECTOR_WIDTH_CHANGED", reason, name)
