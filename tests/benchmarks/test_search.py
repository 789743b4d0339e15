"""The search benchmark compares epochs and AUC of the same settings, and refuses to compare others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import search
from project import CommandFailed
from rayloop.jobs.search.trial import FINISHED, STOPPED, Report, Trial


def trial(number: int, scores: Sequence[float], outcome: str = FINISHED, rate: float = 0.1) -> Trial:
    reports = tuple(Report(epoch, epoch, score, {}, {}, 1, 0, 1) for epoch, score in enumerate(scores, start=1))
    return Trial(number, {"learning_rate": rate}, outcome, reports=reports)


WHOLE = search.Done("none", [trial(0, [0.7, 0.8, 0.81, 0.82]), trial(1, [0.6, 0.7, 0.8, 0.9])], 10)


def test_it_holds_where_little_was_run_and_nothing_lost() -> None:
    asha = search.Done("asha", [trial(0, [0.7], STOPPED), trial(1, [0.6, 0.7], STOPPED)], 5)
    claims = search.compare(asha, WHOLE)
    assert [(claim.value, claim.holds) for claim in claims] == [(37.5, True), (0.2, False), (0, True)]
    assert asha.cells(WHOLE.epochs) == ("asha", "2", "2", "3", "37.5", "0.7000", "3", "5")


def test_an_epoch_that_trained_otherwise_is_found() -> None:
    asha = search.Done("asha", [trial(0, [0.71], STOPPED), trial(1, [0.6, 0.7, 0.8, 0.9])], 5)
    claims = search.compare(asha, WHOLE)
    assert [(claim.value, claim.holds) for claim in claims] == [(62.5, False), (0.0, True), (1, False)]


def test_other_settings_are_not_compared() -> None:
    asha = search.Done("asha", [trial(0, [0.7]), trial(1, [0.6], rate=0.2)], 5)
    with pytest.raises(CommandFailed, match="different settings"):
        search.compare(asha, WHOLE)
