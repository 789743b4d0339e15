"""A claim holds at its goal and not beyond it, and never without a figure."""

from __future__ import annotations

import json
from pathlib import Path

import claims
import pytest


@pytest.mark.parametrize(("value", "holds"), [(1.19, False), (1.2, True), (None, False), (float("nan"), False)])
def test_at_least(value: float | None, holds: bool) -> None:
    assert claims.at_least("rate", value, 1.2, "times").holds is holds


@pytest.mark.parametrize(("value", "holds"), [(50.0, True), (50.1, False), (None, False), (float("nan"), False)])
def test_at_most(value: float | None, holds: bool) -> None:
    assert claims.at_most("p99", value, 50, "ms").holds is holds


def test_the_file_holds_each_claim(tmp_path: Path) -> None:
    found = [claims.at_least("rate", float("nan"), 1.2, "times"), claims.at_most("failed", 0, 0, "requests")]
    claims.write(tmp_path / "claims.json", found)
    assert json.loads((tmp_path / "claims.json").read_text()) == {
        "claims": [
            {"name": "rate", "value": None, "goal": 1.2, "unit": "times", "holds": False},
            {"name": "failed", "value": 0, "goal": 0, "unit": "requests", "holds": True},
        ]
    }
    assert not claims.all_hold(found)
    assert "| rate | not measured | 1.2 times | **does not hold** |" in claims.markdown(found)
