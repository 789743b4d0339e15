"""Owns holding a profile against constraints: every rule that the data break becomes an anomaly."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyarrow as pa

from ..stats import ColumnProfile, Profile
from ..stats.columns import type_of
from . import evidence
from .anomaly import Anomaly, Code, make_anomaly
from .chance import CHANCE, is_above
from .constraints import ColumnConstraints, Constraints
from .infer import infer_constraints
from .schema import changed_type, changed_width, check_schema, missing_column, new_column

SHOWN_TEXTS = 5


def check(profile: Profile, constraints: Constraints, schema: pa.Schema | None = None) -> tuple[Anomaly, ...]:
    """Every rule that the data of a profile break: first those of the table, then column by column.

    The profile may be on bins of its own or on those of the reference. Of a column whose type changed the other
    rules say nothing. `schema` is the data's own: it tells a column that is missing from one that has no profile.
    """
    found = list(_of_rows(profile.rows, constraints))
    unprofiled = {} if schema is None else {field.name: field.type for field in schema}
    for name, rules in constraints.columns.items():
        if name in profile.columns:
            found += _of_column(name, profile.columns[name], rules, constraints.chance)
        elif name in unprofiled:
            found += _of_unprofiled(name, unprofiled[name], profile.rows, rules, constraints.chance)
        elif rules.is_required:
            found.append(missing_column(name))
    found += [new_column(name) for name in profile.columns if name not in constraints.columns]
    return tuple(found)


def window_anomalies(
    reference: Profile,
    window: Profile | None,
    schema: pa.Schema | None = None,
    *,
    min_rows: int = 1,
    chance: float = CHANCE,
) -> tuple[Anomaly, ...]:
    """What is wrong with a window of rows beside its reference, whatever its distribution.

    `schema` is that of the rows before they were counted: what it shows is an anomaly here, and so the window's
    profile need not have every column. `window` is None where nothing could be counted.
    """
    found = () if schema is None else check_schema(schema, reference)
    if window is None:
        return found or tuple(_of_rows(0, Constraints()))
    inferred = infer_constraints(reference, chance)
    rules = Constraints(inferred.columns, inferred.rows, min_rows, chance)
    return found + check(window, rules if schema is None else rules.only(window.columns))


def _of_rows(rows: int, constraints: Constraints) -> Iterator[Anomaly]:
    if rows == 0:
        yield make_anomaly("NO_ROWS", "there are no rows")
    elif rows < constraints.min_rows:
        reason = f"there are {rows} rows, but there must be {constraints.min_rows}"
        yield make_anomaly("TOO_FEW_ROWS", reason)


def _of_unprofiled(
    name: str, type_: pa.DataType, rows: int, rules: ColumnConstraints, chance: float
) -> Iterator[Anomaly]:
    if rows == 0:
        return
    if pa.types.is_null(type_):
        yield from _Rules(name, chance).all_null(rows, rules.max_null_share)
    elif rules.type == "vector" == type_of(type_):
        reason = f"column {name!r} holds no vectors of one width, but held {rules.width} numbers in each"
        yield make_anomaly("VECTOR_WIDTH_CHANGED", reason, name)
    elif rules.type is not None:
        yield make_anomaly("TYPE_CHANGED", f"column {name!r} is {type_}, but was {rules.type}", name)


def _of_column(name: str, column: ColumnProfile, rules: ColumnConstraints, chance: float) -> Iterator[Anomaly]:
    binning = column.binning
    changed = None if rules.type is None else changed_type(name, binning.type, rules.type)
    if changed is None and rules.width is not None and binning.basis is not None:
        changed = changed_width(name, len(binning.basis.centre), rules.width)
    is_widened = rules.type == "integral" and binning.type == "fractional"
    if changed is not None and not (is_widened and column.values == 0):
        yield changed
    if changed is not None and not is_widened:
        return
    rule = _Rules(name, chance)
    present = column.count - column.nulls
    if column.count and not present:
        yield from rule.all_null(column.count, rules.max_null_share)
        return
    yield from rule.share("NULLS_ABOVE_REFERENCE", "null", column.nulls, column.count, rules.max_null_share)
    if rules.max_duplicate_share is not None:
        repeated = evidence.duplicates(column)
        yield from rule.share(
            "NOT_UNIQUE", "a value that is there already", repeated, column.values, rules.max_duplicate_share
        )
    yield from rule.constant(column, rules.top_share)
    if not binning.is_ordered:
        yield from _of_texts(rule, column, rules)
        return
    odd = column.nans + column.infs
    yield from rule.share("VALUE_NOT_FINITE", "NaN or infinite", odd, present, rules.max_not_finite_share)
    if binning.kind != "embedding":
        yield from _of_numbers(rule, column, rules)


def _of_numbers(rule: _Rules, column: ColumnProfile, rules: ColumnConstraints) -> Iterator[Anomaly]:
    finite = column.moments.count
    negative = list(
        rule.share("VALUE_NEGATIVE", "negative", evidence.below(column, 0), finite, rules.max_negative_share)
    )
    yield from negative
    outside = 0
    if rules.minimum is not None and not negative:
        outside += evidence.below(column, rules.minimum)
    if rules.maximum is not None:
        outside += evidence.above(column, rules.maximum)
    low = "-inf" if rules.minimum is None else f"{rules.minimum:g}"
    high = "inf" if rules.maximum is None else f"{rules.maximum:g}"
    what = f"outside {low} to {high}"
    yield from rule.share("VALUE_OUT_OF_RANGE", what, outside, finite, rules.max_out_of_range_share)
    if rules.max_fraction_share is not None:
        broken = evidence.fractions(column)
        yield from rule.share("VALUE_NOT_INTEGRAL", "no whole number", broken, finite, rules.max_fraction_share)


def _of_texts(rule: _Rules, column: ColumnProfile, rules: ColumnConstraints) -> Iterator[Anomaly]:
    if rules.domain is None or rules.max_unknown_share is None:
        return
    count, unknown = evidence.unknown_texts(column, frozenset(rules.domain))
    named = ", ".join(f"{text!r} ({times})" for text, times in list(unknown.items())[:SHOWN_TEXTS])
    what = f"of no known category{f', such as {named},' if named else ''}"
    yield from rule.share("CATEGORY_UNKNOWN", what, count, column.values, rules.max_unknown_share)


class _Rules:
    """The rules of one column, with what chance may do."""

    def __init__(self, name: str, chance: float) -> None:
        self._name, self._chance = name, chance

    def share(self, code: Code, what: str, count: int, of: int, limit: float | None) -> Iterator[Anomaly]:
        """So many of so many are what they should not be."""
        if limit is None or of == 0 or not is_above(count, of, limit, self._chance):
            return
        allowed = f"at most {_percent(limit)} may be" if limit else "none may be"
        reason = f"column {self._name!r}: {_percent(count / of)} of {of} are {what}, but {allowed}"
        yield make_anomaly(code, reason, self._name, count / of, limit)

    def all_null(self, rows: int, limit: float | None) -> Iterator[Anomaly]:
        """Not one value is there."""
        if limit is not None and is_above(rows, rows, limit, self._chance):
            reason = f"column {self._name!r} is null in all of {rows} rows, but at most {_percent(limit)} may be"
            yield make_anomaly("COLUMN_ALL_NULL", reason, self._name, 1.0, limit)

    def constant(self, column: ColumnProfile, top: float | None) -> Iterator[Anomaly]:
        """All values are one, where the reference has more than one."""
        if (
            top is None
            or not evidence.is_constant(column)
            or not is_above(column.values, column.values, top, self._chance)
        ):
            return
        reason = (
            f"column {self._name!r} holds one single value in all of {column.values} rows, "
            f"but the most frequent one may be {_percent(top)} of them"
        )
        yield make_anomaly("COLUMN_CONSTANT", reason, self._name, 1.0, top)


def _percent(share: float) -> str:
    """A share for a person, to three digits; none is 0 % but 0 itself."""
    if share == 0:
        return "0 %"
    digits = max(0, 2 - math.floor(math.log10(share * 100))) if share < 1 else 0
    return f"{round(share * 100, min(digits, 12)):g} %"
