"""Owns the judgement of two profiles: which columns drift, and whether the window does; reads no rows."""

from collections.abc import Collection
from dataclasses import dataclass

from ..errors import InvalidInput
from .columns import Kind
from .distance import kl_divergence, ks_statistic, psi
from .groups import coarse_groups, fine_groups, in_groups
from .profiles import ColumnProfile, Profile
from .report import ColumnDrift, DriftReport, Verdict
from .significance import benjamini_hochberg, homogeneity_p_value, ks_p_value

DATASET_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """What a column must exceed to count as drifted; `InvalidInput` for a limit outside its range."""

    psi: float = 0.2
    """Above 0; 0.2 is the usual "shifted" of credit scoring."""
    ks: float = 0.1
    """In (0, 1); numeric columns drift by PSI or by KS."""
    alpha: float = 0.05
    """Bound of the false-discovery rate over columns, in (0, 1)."""
    min_rows: int = 200
    """Rows that the reference and the window each need for a verdict; at least 1."""

    def __post_init__(self) -> None:
        if not self.psi > 0:
            raise InvalidInput(f"the PSI limit is {self.psi}, but it must be above 0")
        if not 0 < self.ks < 1:
            raise InvalidInput(f"the KS limit is {self.ks}, but it must lie between 0 and 1")
        if not 0 < self.alpha < 1:
            raise InvalidInput(f"alpha is {self.alpha}, but it must lie between 0 and 1")
        if self.min_rows < 1:
            raise InvalidInput(f"min_rows is {self.min_rows}, but it must be at least 1")


@dataclass(frozen=True, slots=True)
class _Difference:
    """Effects and p-value of one column, before the columns are judged together."""

    kind: Kind
    psi: float | None = None
    kl: float | None = None
    ks: float | None = None
    p_value: float = 1.0


def _missing(profile: ColumnProfile) -> tuple[int, int, int]:
    return profile.values, profile.nulls, profile.nans


def _difference(reference: ColumnProfile, current: ColumnProfile) -> _Difference:
    binning = reference.binning
    if not reference.count or not current.count:
        return _Difference(binning.kind)
    groups = coarse_groups(binning, reference.counts)
    ref_G, cur_G = in_groups(reference.counts, groups), in_groups(current.counts, groups)
    effects = psi(ref_G, cur_G), kl_divergence(ref_G, cur_G)
    if not binning.is_ordered:
        groups = fine_groups(binning, reference.counts)
        p_value = homogeneity_p_value(in_groups(reference.counts, groups), in_groups(current.counts, groups))
        return _Difference(binning.kind, *effects, None, 1.0 if p_value is None else p_value)
    # KS leaves nulls and NaN out, so a column that loses its values needs a test of its own.
    of_missing, of_values, ks = homogeneity_p_value(_missing(reference), _missing(current)), None, None
    num_reference, num_current = reference.values, current.values
    if num_reference and num_current:
        ks = ks_statistic(reference.value_counts, current.value_counts)
        of_values = ks_p_value(ks, num_reference, num_current)
    p_values = [p_value for p_value in (of_missing, of_values) if p_value is not None]
    return _Difference(binning.kind, *effects, ks, min(1.0, len(p_values) * min(p_values, default=1.0)))


def _verdict(found: _Difference, adjusted_p: float, limits: DriftLimits) -> tuple[Verdict, str]:
    measured = [("PSI", found.psi, limits.psi), ("KS", found.ks, limits.ks)]
    effects = [(name, value, limit) for name, value, limit in measured if value is not None]
    above = [f"{name} {value:.3g} is above {limit:g}" for name, value, limit in effects if value > limit]
    chance = f"adjusted p {adjusted_p:.2g}"
    if not above:
        within = " and ".join(f"{name} {value:.3g}" for name, value, _ in effects)
        return "none", f"{within} within limits" if within else "nothing to compare"
    if adjusted_p > limits.alpha:
        return "none", f"{' and '.join(above)}, but chance explains it: {chance} is above {limits.alpha:g}"
    return "drift", f"{' and '.join(above)}, {chance}"


def _judge_columns(
    reference: Profile, current: Profile, limits: DriftLimits, is_short: bool
) -> tuple[ColumnDrift, ...]:
    names = sorted(reference.columns)
    found = [_difference(reference.columns[name], current.columns[name]) for name in names]
    adjusted = benjamini_hochberg([one.p_value for one in found])
    judged = []
    for name, one, adjusted_p in zip(names, found, adjusted, strict=True):
        verdict, reason = _verdict(one, adjusted_p, limits)
        if is_short:
            verdict, reason = "too_few_rows", f"fewer than {limits.min_rows} rows"
        statistics = {"psi": one.psi, "kl": one.kl, "ks": one.ks}
        found_by = "ks" if one.ks is not None and one.ks > limits.ks else "psi"
        limit = limits.ks if found_by == "ks" else limits.psi
        value = statistics[found_by]
        judged.append(
            ColumnDrift(
                name, one.kind, statistics, found_by, value, limit, one.p_value, adjusted_p, None, verdict, reason
            )
        )
    return tuple(judged)


def _judge_window(
    columns: tuple[ColumnDrift, ...], share: float, dataset_share: float, always: Collection[str]
) -> tuple[Verdict, str]:
    drifted = [column.column for column in columns if column.verdict == "drift"]
    counted = f"{len(drifted)} of {len(columns)} columns drifted"
    if alarming := sorted(set(drifted) & set(always)):
        return "drift", f"{counted}, among them {', '.join(alarming)}, which always counts"
    relation = "at or above" if share >= dataset_share else "below"
    named = f": {', '.join(drifted)}" if drifted else ""
    verdict: Verdict = "drift" if share >= dataset_share else "none"
    return verdict, f"{counted}, {relation} the share of {dataset_share:g}{named}"


def compare(
    reference: Profile,
    current: Profile,
    limits: DriftLimits | None = None,
    *,
    dataset_share: float = DATASET_SHARE,
    always: Collection[str] = (),
) -> DriftReport:
    """Judge a window of current rows against the reference.

    A column drifts when an effect is above its limit and significant. The window drifts when `dataset_share`
    of the columns do, or one named in `always`. With fewer than `min_rows` on a side there is no verdict.
    Raises `InvalidInput` for profiles on different bins, an unknown name or a share outside (0, 1].
    """
    limits = limits or DriftLimits()
    reference.require_same_bins(current)
    if not 0 < dataset_share <= 1:
        raise InvalidInput(f"dataset_share is {dataset_share}, but it must be above 0 and at most 1")
    if unknown := sorted(set(always) - reference.columns.keys()):
        raise InvalidInput(f"column {unknown[0]!r} is named in always, but the profiles do not have it")
    rows = min(reference.rows, current.rows)
    columns = _judge_columns(reference, current, limits, rows < limits.min_rows)
    share = sum(column.verdict == "drift" for column in columns) / max(len(columns), 1)
    if rows < limits.min_rows:
        side = "reference" if reference.rows < limits.min_rows else "window"
        verdict: Verdict = "too_few_rows"
        reason = f"the {side} has {rows} rows, but a verdict needs {limits.min_rows}"
    else:
        verdict, reason = _judge_window(columns, share, dataset_share, always)
    return DriftReport(reference.rows, current.rows, columns, share, verdict, reason, limits.alpha)
