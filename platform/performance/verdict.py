"""Decides whether a window can be judged, and whether a metric is worse than its reference; verdicts carry reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..project.schema import LOWER_IS_BETTER
from ..stats.estimate import Estimate, estimate_share

State = Literal["judged", "immature"]
Verdict = Literal["none", "possible", "drift"]

# With them a pooled mean is a share of independent rows, and the reference has an interval of its own.
_SHARES = frozenset({"accuracy"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a window is held to."""

    metric: str
    margin: float
    """By this share of the reference the metric may be worse."""
    label_share: float
    """Least share of the labels that will come in the end that must be there."""
    min_rows: int


@dataclass(frozen=True, slots=True)
class Reference:
    """How good the version was when it was new."""

    source: str
    """`held-out rows` or `first windows`."""
    rows: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and why."""

    verdict: Verdict
    reason: str


def held_out_reference(metrics: Mapping[str, float], rows: int) -> Reference:
    """The reference that the gates measured; accuracy has an interval, the others are taken for exact."""
    known = {
        name: estimate_share(value, rows) if name in _SHARES else Estimate(value, None, None)
        for name, value in metrics.items()
        if math.isfinite(value)
    }
    return Reference("held-out rows", rows, known)


def state_of(labelled: int, predictions: int, promise: float | None, rules: Rules) -> tuple[State, str]:
    """Whether enough labels are there; `promise` is the share of predictions that get one, None where nobody knows."""
    if labelled < rules.min_rows:
        return "immature", f"{labelled} labels, and {rules.min_rows} are the fewest that are judged"
    coverage = labelled / predictions
    if promise is None:
        return "judged", f"{coverage:.0%} of predictions have a label; no other window says how many will"
    if coverage < rules.label_share * promise:
        rule = f"{rules.label_share:.0%} of that are the fewest that are judged"
        return "immature", f"{coverage:.0%} of predictions have a label, of {promise:.0%} that will; {rule}"
    return "judged", f"{coverage:.0%} of predictions have a label, of {promise:.0%} that will"


def judge_metric(metric: str, found: Estimate, reference: Estimate, margin: float) -> Judgement:
    """Hold a metric against its reference: `drift` where it is surely worse by more than the margin.

    `possible` is one that is surely worse, or that seems worse by more than the margin. The interval of the difference
    is made of the two. Source: Zou and Donner (2008), "Construction of confidence limits about effect measures".

    >>> judge_metric("accuracy", Estimate(0.70, 0.66, 0.74), Estimate(0.9, 0.88, 0.92), 0.05).verdict
    'drift'
    """
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    loss = sign * (found.mean - reference.mean)
    allowed = margin * abs(reference.mean)
    said = f"{metric} {_shown(found)} against {reference.mean:.4f} in the reference, {_signed(loss)}"
    if found.low is None or found.high is None:
        verdict: Verdict = "possible" if loss > allowed else "none"
        return Judgement(verdict, f"{said}; too few requests for an interval")
    # The side of each interval on which the loss is smaller.
    own = found.mean - found.low if sign > 0 else found.high - found.mean
    other = 0.0
    if reference.low is not None and reference.high is not None:
        other = reference.high - reference.mean if sign > 0 else reference.mean - reference.low
    least = loss - math.hypot(own, other)
    if least > allowed:
        return Judgement("drift", f"{said}, surely by more than the margin of {allowed:.4f}")
    if least > 0:
        return Judgement("possible", f"{said}, surely, and perhaps by less than the margin of {allowed:.4f}")
    if loss > allowed:
        return Judgement("possible", f"{said}, beyond the margin of {allowed:.4f}, and perhaps by chance")
    return Judgement("none", f"{said}, within the margin of {allowed:.4f} or what chance explains")


def _shown(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.mean:.4f}"
    return f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]"


def _signed(loss: float) -> str:
    return f"worse by {loss:.4f}" if loss > 0 else f"better by {-loss:.4f}"
