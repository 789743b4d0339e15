"""From the call of a change to the first answer that shows it."""

from __future__ import annotations

import math

from effect import Change, effects, percentile
from watcher import Seen

CHANGES = [Change(10.0, 10.2, "2"), Change(20.0, 20.1, "1")]


def answers(*found: tuple[float, str], took_s: float = 0.01) -> Seen:
    return Seen([(sent_s, sent_s + took_s, version) for sent_s, version in found])


def test_the_first_answer_of_the_new_version_counts() -> None:
    seen = answers((9.0, "2"), (10.01, "1"), (10.04, "2"), (10.5, "2"), (20.02, "2"), (20.09, "1"))
    found = effects(CHANGES, seen)
    assert [round(value) for value in found.until_answer_ms] == [50, 100]
    assert [round(value) for value in found.until_return_ms] == [200, 100]
    assert (found.unseen, found.late) == (0, 0)


def test_answers_of_the_old_version_after_the_return_are_late() -> None:
    found = effects(CHANGES, answers((10.1, "1"), (10.15, "2"), (10.3, "1"), (20.05, "1")))
    assert (found.unseen, found.late) == (0, 1)


def test_a_change_that_nobody_saw_is_counted_and_holds_no_claim() -> None:
    found = effects(CHANGES, answers((10.1, "1"), (20.3, "2")))
    assert found.unseen == 2
    assert {claim.holds for claim in found.claims()[:3]} == {False}
    assert math.isnan(percentile(found.until_answer_ms, 99))


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 201)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [100, 198, 200]
