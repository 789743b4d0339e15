"""What drifts most comes first."""

from __future__ import annotations

import math

from rayloop.platform.report import by_severity, excess
from rayloop.platform.report.severity import RANKS, WORDS
from rayloop.platform.stats.report import VERDICTS

from .conftest import build_column


def test_verdict_then_distance_from_the_limit_then_name() -> None:
    columns = [
        build_column("quiet", "none", 0.19),
        build_column("unsure", "possible", 9.0),
        build_column("short", "too_few_rows", None),
        build_column("b", "drift", 0.3),
        build_column("a", "drift", 0.3),
        build_column("worst", "drift", 0.1, limit=0.01),
    ]
    found = [one.column for one in by_severity(columns)]
    assert found == ["worst", "a", "b", "unsure", "short", "quiet"]


def test_excess_needs_a_value_and_a_limit() -> None:
    assert excess(build_column("x", value=0.3)) == 0.3 / 0.2
    assert excess(build_column("x", value=None)) == 0.0
    assert excess(build_column("x", limit=None)) == 0.0
    assert excess(build_column("x", value=0.1, limit=0.0)) == math.inf
    assert excess(build_column("x", value=0.0, limit=0.0)) == 0.0


def test_every_verdict_has_a_rank_and_a_word() -> None:
    assert set(RANKS) == set(WORDS) == set(VERDICTS)
