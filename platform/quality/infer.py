"""Owns how constraints are inferred from the profile of a reference; it checks nothing."""

from __future__ import annotations

import math

from ..stats import ColumnProfile, Profile
from ..stats.columns import Type
from ..stats.distinct import STANDARD_ERROR
from .chance import CHANCE, upper_share
from .constraints import ColumnConstraints, Constraints
from .evidence import duplicates, fractions

OPEN_SHARE = 0.05
"""A column of which more is expected to be new each time, such as names, has no domain."""
KEY_ROWS = 100
"""Fewer rows can all differ by chance."""
KEY_ERRORS = 4
"""Standard errors of the distinct sketch that a key of many rows is given: it can't tell few duplicates from none."""
WIDE_SPAN = 2**40
"""Whole numbers over such a span are names, as hashes are: that they differ says that they are meant to."""


def infer_constraints(profile: Profile, chance: float = CHANCE) -> Constraints:
    """Say what the columns of a reference keep. Its profile must be on bins of its own.

    Each limit is the largest share that the reference leaves possible, and where a share may grow a little more.
    """
    columns = {name: infer_column(column, chance) for name, column in profile.columns.items()}
    return Constraints(columns, rows=profile.rows, chance=chance)


def infer_column(column: ColumnProfile, chance: float = CHANCE) -> ColumnConstraints:
    """Say what one column of a reference keeps."""
    binning, basis = column.binning, column.binning.basis
    found: dict[str, object] = {"type": binning.type, "width": None if basis is None else len(basis.centre)}
    if column.count:
        found["max_null_share"] = _with_room(upper_share(column.nulls, column.count, chance))
    if column.values + column.nans:
        found |= _numbers(column, chance) if binning.is_ordered else _texts(column, chance)
    return ColumnConstraints(**found)  # type: ignore[arg-type]


def _with_room(share: float) -> float:
    """Half as much again, and two points more at most: what is sound moves a little from month to month."""
    return min(share + min(share / 2, 0.02), 1.0)


def _numbers(column: ColumnProfile, chance: float) -> dict[str, object]:
    found: dict[str, object] = {}
    type_, finite = column.binning.type, column.moments.count
    odd = column.nans + column.infs
    if type_ in ("fractional", "vector"):
        found["max_not_finite_share"] = _with_room(upper_share(odd, finite + odd, chance))
    low, high = column.min, column.max
    if low is None or high is None or type_ == "vector":
        return found
    found["top_share"] = upper_share(int(column.value_counts.max()), column.values, chance)
    found |= _uniqueness(column, chance)
    if type_ in ("timestamp", "zoned timestamp"):
        return found  # time goes on
    if low >= 0:
        found["max_negative_share"] = upper_share(0, finite, chance)
    if "max_duplicate_share" not in found:  # keys are counted on
        # Two more values are as likely to lie beyond the two ends as the two that made them.
        found |= {"minimum": low, "maximum": high, "max_out_of_range_share": upper_share(2, finite, chance)}
    if type_ == "integral":
        found["max_fraction_share"] = 0.0
    elif column.binning.is_discrete and not fractions(column):
        found["max_fraction_share"] = upper_share(0, finite, chance)
    return found


def _texts(column: ColumnProfile, chance: float) -> dict[str, object]:
    binning, values = column.binning, column.values
    counts = column.counts[: binning.num_bins]
    found: dict[str, object] = {"top_share": upper_share(int(counts.max(initial=0)), values, chance)}
    if binning.type == "boolean" or not values:
        return found
    found |= _uniqueness(column, chance)
    # Good and Turing: what was seen once is as much as what was never seen.
    once = int((counts == 1).sum())
    if not column.other and once <= OPEN_SHARE * values:
        domain = tuple(text for text, count in zip(binning.categories, counts.tolist(), strict=True) if count)
        found |= {"domain": domain, "max_unknown_share": upper_share(once, values, chance)}
    return found


def _uniqueness(column: ColumnProfile, chance: float) -> dict[str, object]:
    """The rule of a key, where the column looks like one."""
    type_: Type = column.binning.type
    values = column.values
    if type_ not in ("integral", "string") or values < KEY_ROWS or duplicates(column):
        return {}
    if type_ == "integral":
        assert column.min is not None
        assert column.max is not None
        span = column.max - column.min + 1
        if span < WIDE_SPAN and values**2 / (2 * span) < math.log(1 / chance):
            return {}  # so many numbers out of so wide a span could differ by chance
    # The most frequent category of the reference is the first: where it came once, all did.
    is_known = column.distinct.is_exact or (type_ == "string" and column.counts[0] == 1)
    if is_known:
        return {"max_duplicate_share": upper_share(0, values, chance)}
    if column.distinct.estimate < values * (1 - KEY_ERRORS / 2 * STANDARD_ERROR):
        return {}
    return {"max_duplicate_share": KEY_ERRORS * STANDARD_ERROR}
