"""Owns the judgement of two profiles: which columns drift, and whether the window does; reads no rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import InvalidInput
from .evidently import EVIDENTLY_SHARE, judge_like_evidently
from .limits import DriftLimits
from .measures import Measured, measure
from .power import smallest_effect
from .profiles import ColumnProfile, Profile
from .report import ColumnDrift, DriftReport, Verdict
from .significance import benjamini_hochberg

DATASET_SHARE = 0.3
COMPAT = ("evidently",)

ColumnLimits = Mapping[str, float]
"""Limits of one column, by the statistic's name."""


def compare(
    reference: Profile,
    current: Profile,
    limits: DriftLimits | None = None,
    *,
    calibrated: Mapping[str, ColumnLimits] | None = None,
    dataset_share: float | None = None,
    always: Collection[str] = (),
    compat: str | None = None,
) -> DriftReport:
    """Judge a window of current rows against the reference.

    A column drifts when its judged statistic is above its limit and significant. The window drifts when
    `dataset_share` of the columns do, or one named in `always`. With fewer than `min_rows` on a side there is no
    verdict. `calibrated` gives columns limits of their own, see `calibrate`. With `compat="evidently"` verdicts
    and the share follow Evidently 0.7, see `judge_like_evidently`. Raises `InvalidInput` for profiles on
    different bins, an unknown name or a share outside (0, 1].
    """
    limits = limits or DriftLimits()
    reference.require_same_bins(current)
    if compat is not None and compat not in COMPAT:
        raise InvalidInput(f"compat is {compat!r}, but it must be one of {', '.join(COMPAT)}")
    if dataset_share is None:
        dataset_share = DATASET_SHARE if compat is None else EVIDENTLY_SHARE
    if not 0 < dataset_share <= 1:
        raise InvalidInput(f"dataset_share is {dataset_share}, but it must be above 0 and at most 1")
    for option, names in (("always", always), ("calibrated", calibrated or {})):
        if unknown := sorted(set(names) - reference.columns.keys()):
            raise InvalidInput(f"column {unknown[0]!r} is named in {option}, but the profiles do not have it")
    names = sorted(reference.columns)
    if compat is not None:
        judged = [judge_like_evidently(name, reference.columns[name], current.columns[name]) for name in names]
        columns = tuple(column for column in judged if column is not None)
        return _report(reference, current, columns, limits, dataset_share, always, compat)
    columns = _judge_columns(reference, current, limits, calibrated or {}, names)
    return _report(reference, current, columns, limits, dataset_share, always, None)


def _report(
    reference: Profile,
    current: Profile,
    columns: tuple[ColumnDrift, ...],
    limits: DriftLimits,
    dataset_share: float,
    always: Collection[str],
    compat: str | None,
) -> DriftReport:
    share = sum(column.verdict == "drift" for column in columns) / max(len(columns), 1)
    verdict, reason = _judge_window(columns, share, dataset_share, always)
    if compat is None and (short := _shortage(reference, current, limits)):
        verdict, reason = "too_few_rows", short
    return DriftReport(reference.rows, current.rows, columns, share, verdict, reason, limits.alpha, compat)


def _shortage(reference: Profile, current: Profile, limits: DriftLimits) -> str | None:
    """Why there can be no verdict at all; None where there can."""
    rows = min(reference.rows, current.rows)
    if rows >= limits.min_rows:
        return None
    side = "reference" if reference.rows < limits.min_rows else "window"
    return f"the {side} has {rows} rows, but a verdict needs {limits.min_rows}"


def _judge_columns(
    reference: Profile,
    current: Profile,
    limits: DriftLimits,
    calibrated: Mapping[str, ColumnLimits],
    names: list[str],
) -> tuple[ColumnDrift, ...]:
    found = [measure(reference.columns[name], current.columns[name]) for name in names]
    adjusted = benjamini_hochberg([one.p_value for one in found])
    short = _shortage(reference, current, limits)
    columns = []
    for name, one, adjusted_p in zip(names, found, adjusted, strict=True):
        ref, cur = reference.columns[name], current.columns[name]
        kind = ref.binning.kind
        bounds = {**limits.of(ref), **calibrated.get(name, {})}
        judged = _furthest(one.statistics, bounds)
        value, limit, smallest = None, None, None
        if judged is not None:
            value, limit = one.statistics[judged], bounds[judged]
            # A column that drifts alone must pass the correction over all of them.
            smallest = smallest_effect(judged, ref, cur.count, limits.alpha / len(names), one.num_groups)
        verdict, reason = _verdict(judged, value, limit, one.p_value, adjusted_p, smallest, limits.alpha)
        if short is not None:
            verdict, reason = "too_few_rows", short
        if remark := _remark(ref, cur, one):
            reason = f"{reason}; {remark}"
        columns.append(
            ColumnDrift(
                name, kind, one.statistics, judged, value, limit, one.p_value, adjusted_p, smallest, verdict, reason
            )
        )
    return tuple(columns)


def _furthest(statistics: Mapping[str, float | None], bounds: ColumnLimits) -> str | None:
    """The statistic that is the largest multiple of its limit; None where the column has none."""
    multiples = {
        name: value / limit if limit > 0 else value
        for name, limit in bounds.items()
        if (value := statistics[name]) is not None
    }
    return max(multiples, key=multiples.__getitem__) if multiples else None


def _verdict(
    judged: str | None,
    value: float | None,
    limit: float | None,
    p_value: float,
    adjusted_p: float,
    smallest: float | None,
    alpha: float,
) -> tuple[Verdict, str]:
    if judged is None or value is None or limit is None:
        return "none", "nothing to compare"
    chance = f"adjusted p {adjusted_p:.2g}"
    shown = f"{judged} {value:.3g}"
    if value <= limit:
        if value > limit / 2 and adjusted_p <= alpha:
            return "possible", f"{shown} is between half the limit and the limit {limit:.3g}, {chance}"
        return "none", f"{shown} is within the limit {limit:.3g}"
    if adjusted_p <= alpha:
        return "drift", f"{shown} is above the limit {limit:.3g}, {chance}"
    above = f"{shown} is above the limit {limit:.3g}"
    if p_value <= alpha and smallest is not None and smallest > limit:
        return "possible", f"{above}, but too few rows to tell: they show none below {smallest:.3g}, {chance}"
    return "none", f"{above}, but chance explains it: {chance} is above {alpha:g}"


def _remark(reference: ColumnProfile, current: ColumnProfile, found: Measured) -> str | None:
    """What a reader must know of the column's rows, whatever the verdict."""
    if not reference.count or not current.count:
        return f"the {'window' if reference.count else 'reference'} has no rows"
    for side, column in (("reference", reference), ("window", current)):
        if not column.values:
            return f"no row of the {side} holds a value"
    if not reference.binning.is_ordered and found.num_groups == 1 and reference.binning.num_bins > 1:
        return f"about {reference.distinct.estimate:.0f} different texts, each too rare to be compared"
    if current.infs > reference.infs:
        return f"the window holds {current.infs} infinite values"
    if reference.distinct.estimate == 1:
        return "the reference holds one single value"
    return None


def _judge_window(
    columns: tuple[ColumnDrift, ...], share: float, dataset_share: float, always: Collection[str]
) -> tuple[Verdict, str]:
    drifted = [column.column for column in columns if column.verdict == "drift"]
    possible = [column.column for column in columns if column.verdict == "possible"]
    counted = f"{len(drifted)} of {len(columns)} columns drifted"
    if alarming := sorted(set(drifted) & set(always)):
        return "drift", f"{counted}, among them {', '.join(alarming)}, which always counts"
    relation = "at or above" if share >= dataset_share else "below"
    named = f": {', '.join(drifted)}" if drifted else ""
    said = f"{counted}, {relation} the share of {dataset_share:g}{named}"
    if share >= dataset_share:
        return "drift", said
    if possible:
        said = f"{said}; possibly also {', '.join(possible)}"
        if set(possible) & set(always) or len(drifted) + len(possible) >= dataset_share * len(columns):
            return "possible", said
    return "none", said
