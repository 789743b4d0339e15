"""Makes the report of an endpoint's windows out of joined predictions; it reads no store, and time is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..stats.estimate import Estimate
from .detectors import Alarm, find_alarms
from .estimator import Estimator, fit_estimator
from .join import Joined
from .maturity import Delays
from .outcomes import Outcomes
from .realised import errors_of, measure_classes, measure_numbers
from .verdict import Judgement, Reference, Rules, State, judge_metric, state_of
from .windows import Grid

PAST_WINDOWS = 5  # of which the estimator's own error is told


@dataclass(frozen=True, slots=True)
class WindowReport:
    """One window: what was measured, what was estimated, and whether the labels suffice."""

    since_s: float
    until_s: float
    predictions: int
    labelled: int
    unknown_labels: int
    sampled: float
    """Share of its predictions that metrics and estimates are made of."""
    coverage: float
    expected: float | None
    """Share of predictions that should have a label at its age."""
    promise: float | None
    """Share of predictions that will have one in the end."""
    state: State
    reason: str
    metrics: Mapping[str, Estimate]
    estimates: Mapping[str, float]
    """What is estimated without labels; nothing for windows that the estimator learnt from."""
    past_error: Mapping[str, float]
    """By how much the estimates were off, in the mean of the judged windows before."""
    verdict: str | None
    """None where it is immature, or the reference itself."""
    is_reference: bool


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """All windows in order of time; the verdict is that of the newest one that could be judged."""

    metric: str
    verdict: str
    """none, possible or drift; immature where no window could be judged."""
    reason: str
    reference: Reference | None
    estimator: Mapping[str, Any]
    delay_s: Mapping[str, float | None]
    """Within which half, and nine in ten, of the labels that ever come have come."""
    windows: tuple[WindowReport, ...]
    alarms: tuple[Alarm, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


def report_windows(
    joined: Mapping[int, Joined],
    grid: Grid,
    shown: Sequence[int],
    first: Sequence[int],
    num_classes: int,
    rules: Rules,
    recorded: Reference | None,
    now_s: float,
) -> PerformanceReport:
    """Report the windows `shown`; those of `first` teach the estimator, and are the reference where none is recorded.

    `num_classes` is 0 for a regression.
    """
    learnt_from = Outcomes.joined(joined[number].kept for number in first)
    estimator = fit_estimator(learnt_from, num_classes, rules.min_rows)
    reference = recorded
    if reference is None or rules.metric not in reference.metrics:
        known = learnt_from.labelled()
        found = Reference("first windows", len(known), _measured(known, num_classes))
        reference = found if len(known) >= rules.min_rows and rules.metric in found.metrics else None
    everything = sum((one.delays for one in joined.values()), Delays.none())
    maker = _Windows(grid, num_classes, rules, reference, frozenset(first), estimator, everything, now_s)
    windows: list[WindowReport] = []
    verdict, reason = "immature", "no window could be judged"
    for number in shown:
        window, judgement = maker.report(number, joined[number], windows)
        windows.append(window)
        if judgement is not None:
            verdict, reason = judgement.verdict, judgement.reason
        elif verdict == "immature" and window.predictions:
            reason = window.reason
    stream = Outcomes.joined(joined[number].kept.labelled() for number in shown)
    errors = errors_of(stream, is_classes=num_classes > 0)
    curve = everything.curve()
    return PerformanceReport(
        metric=rules.metric,
        verdict=verdict,
        reason=reason,
        reference=reference,
        estimator=estimator.describe(),
        delay_s={"half": curve.delay_s(0.5), "nine in ten": curve.delay_s(0.9)},
        windows=tuple(windows),
        alarms=tuple(find_alarms(errors, stream.time_N)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """What the report of each window is made with."""

    grid: Grid
    num_classes: int
    rules: Rules
    reference: Reference | None
    first: frozenset[int]
    estimator: Estimator
    everything: Delays
    now_s: float

    def report(
        self, number: int, joined: Joined, before: Sequence[WindowReport]
    ) -> tuple[WindowReport, Judgement | None]:
        span, rules = self.grid.window(number), self.rules
        others = self.everything - joined.delays
        curve = others.curve() if others.total else None
        promise = None if curve is None else curve.promise
        state, reason = state_of(joined.labelled, joined.predictions, promise, rules)
        metrics = _measured(joined.kept.labelled(), self.num_classes)
        judgement = None
        is_reference = number in self.first and self.reference is not None and self.reference.source == "first windows"
        if is_reference:
            reason = f"part of the reference; {reason}"
        elif state == "judged" and self.reference is None:
            reason = f"there is no reference to hold {rules.metric} against; {reason}"
        elif state == "judged" and self.reference is not None and rules.metric in metrics:
            judgement = judge_metric(
                rules.metric, metrics[rules.metric], self.reference.metrics[rules.metric], rules.margin
            )
            reason = judgement.reason
        window = WindowReport(
            since_s=span.since_s,
            until_s=span.until_s,
            predictions=joined.predictions,
            labelled=joined.labelled,
            unknown_labels=joined.unknown_labels,
            sampled=joined.share,
            coverage=joined.labelled / joined.predictions if joined.predictions else 0.0,
            expected=None if curve is None else curve.over(self.now_s - span.since_s, self.now_s - span.until_s),
            promise=promise,
            state=state,
            reason=reason,
            metrics=metrics,
            estimates={} if number in self.first else self.estimator.estimate(joined.kept),
            past_error=_past_error(before),
            verdict=None if judgement is None else judgement.verdict,
            is_reference=is_reference,
        )
        return window, judgement


def _measured(known: Outcomes, num_classes: int) -> dict[str, Estimate]:
    return measure_classes(known, num_classes) if num_classes else measure_numbers(known)


def _past_error(before: Sequence[WindowReport]) -> dict[str, float]:
    """How far off the estimates were, in the mean over the last windows that were judged and estimated."""
    last = [window for window in before if window.state == "judged" and window.estimates][-PAST_WINDOWS:]
    names = {name for window in last for name in window.estimates.keys() & window.metrics.keys()}
    found = {}
    for name in sorted(names):
        gaps = [
            abs(w.estimates[name] - w.metrics[name].mean) for w in last if name in w.estimates and name in w.metrics
        ]
        found[name] = sum(gaps) / len(gaps)
    return found
