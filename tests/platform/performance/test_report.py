"""The report of windows: metrics, estimates, maturity and verdicts come together as documented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rayloop.platform.performance.join import Joined
from rayloop.platform.performance.maturity import Delays
from rayloop.platform.performance.outcomes import Outcomes
from rayloop.platform.performance.report import PerformanceReport, report_windows
from rayloop.platform.performance.verdict import Reference, Rules, held_out_reference
from rayloop.platform.performance.windows import Grid

from .conftest import NOON_S

GRID = Grid(NOON_S, 3_600.0)
NOW_S = NOON_S + 10 * 3_600
RULES = Rules("accuracy", margin=0.05, label_share=0.8, min_rows=50)


def window(number: int, accuracy: float, rows: int = 400, labelled: float = 1.0, seed: int = 0) -> Joined:
    """A window of so many predictions; the labels that came did so after a minute."""
    random = np.random.default_rng(100 * seed + number + 1)
    predicted = random.integers(0, 2, rows).astype(float)
    wrong = np.arange(rows) < round(rows * (1 - accuracy))
    target = np.where(random.permutation(wrong), 1 - predicted, predicted)
    came = np.arange(rows) < labelled * rows
    at_s = GRID.window(number).since_s + np.arange(rows)
    sure = np.column_stack([np.where(predicted == 1, 0.1, 0.9), np.where(predicted == 1, 0.9, 0.1)])
    kept = Outcomes(
        (at_s * 1e6).astype(np.int64),
        np.arange(rows, dtype=np.int64) + 10_000 * number,
        np.where(came, target, np.nan),
        predicted,
        sure,
    )
    delays = Delays.count(np.where(came, 60.0, np.nan), NOW_S - at_s)
    return Joined(rows, int(came.sum()), 0, delays, kept)


def report(
    windows: Sequence[Joined], first: Sequence[int] = (), recorded: Reference | None = None, rules: Rules = RULES
) -> PerformanceReport:
    joined = dict(enumerate(windows))
    return report_windows(joined, GRID, list(joined), first, 2, rules, recorded, NOW_S)


def test_drift_is_held_against_the_held_out_rows() -> None:
    windows = [window(0, 0.9), window(1, 0.9), window(2, 0.7)]
    found = report(windows, recorded=held_out_reference({"accuracy": 0.9}, 2_000))
    assert [one.verdict for one in found.windows] == ["none", "none", "drift"]
    assert (found.verdict, found.metric) == ("drift", "accuracy")
    assert found.reason.startswith("accuracy 0.7000 [0.65")
    assert "against 0.9000 in the reference" in found.reason
    assert found.windows[2].metrics["accuracy"].mean == 0.7
    assert {alarm.detector for alarm in found.alarms} >= {"Page-Hinkley"}
    assert all(alarm.at_s >= GRID.window(2).since_s for alarm in found.alarms)


def test_without_recorded_metrics_the_first_windows_are_the_reference_and_are_not_judged() -> None:
    windows = [window(0, 0.9), window(1, 0.9), window(2, 0.9), window(3, 0.7)]
    found = report(windows, first=[0, 1])
    assert found.reference is not None
    assert (found.reference.source, found.reference.rows) == ("first windows", 800)
    assert [one.verdict for one in found.windows] == [None, None, "none", "drift"]
    assert found.windows[0].reason.startswith("part of the reference")
    assert [one.is_reference for one in found.windows] == [True, True, False, False]
    nothing = report(windows)
    assert (nothing.reference, nothing.verdict) == (None, "immature")
    assert nothing.windows[0].reason.startswith("there is no reference to hold accuracy against")


def test_an_immature_window_is_measured_and_not_judged() -> None:
    windows = [window(0, 0.9), window(1, 0.9), window(2, 0.5, labelled=0.5)]
    found = report(windows, recorded=held_out_reference({"accuracy": 0.9}, 2_000))
    last = found.windows[2]
    assert (last.state, last.verdict, last.coverage) == ("immature", None, 0.5)
    assert last.promise is not None
    assert last.promise > 0.99
    assert "50% of predictions have a label, of 100% that will" in last.reason
    assert last.metrics["accuracy"].low is not None
    assert found.verdict == "none"  # of the newest window that could be judged
    empty = Joined()
    assert report([empty]).reason == "no window could be judged"
    assert report([window(0, 0.9, labelled=0.0)]).reason.startswith("0 labels, and 50 are the fewest")


def test_a_part_of_the_labels_is_enough_where_no_more_ever_come() -> None:
    windows = [window(number, 0.9, rows=400, labelled=0.25) for number in range(3)]
    found = report(windows, recorded=held_out_reference({"accuracy": 0.9}, 2_000))
    assert [one.state for one in found.windows] == ["judged"] * 3
    assert [round(one.promise or 0, 2) for one in found.windows] == [0.25] * 3
    assert found.windows[0].expected == found.windows[0].promise
    assert found.delay_s["half"] is not None
    assert 50 < found.delay_s["half"] < 80


def test_estimates_stand_beside_what_was_measured_with_their_past_error() -> None:
    windows = [window(0, 0.9, rows=1_000), window(1, 0.9), window(2, 0.8), window(3, 0.9, labelled=0.0)]
    found = report(windows, first=[0], recorded=held_out_reference({"accuracy": 0.9}, 2_000))
    assert found.estimator["method"] == "CBPE"
    assert (found.windows[0].estimates, found.windows[1].past_error) == ({}, {})
    for one in found.windows[1:]:
        assert abs(one.estimates["accuracy"] - 0.9) < 1e-9
    assert abs(found.windows[2].past_error["accuracy"] - 0.0) < 1e-9
    assert abs(found.windows[3].past_error["accuracy"] - 0.05) < 1e-9  # off by 0 and by 0.1
    assert found.windows[3].metrics == {}


def test_a_metric_that_was_not_recorded_falls_back_on_the_first_windows() -> None:
    recorded = held_out_reference({"log_loss": 0.3}, 2_000)
    found = report([window(0, 0.9), window(1, 0.9)], first=[0], recorded=recorded)
    assert found.reference is not None
    assert found.reference.source == "first windows"
    assert found.to_dict()["windows"][1]["verdict"] == "none"
