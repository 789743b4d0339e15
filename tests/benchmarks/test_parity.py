"""The real Evidently gives the verdicts that we give by its rules, where its environment has been made."""

from __future__ import annotations

import environments
import parity
import pytest

PYTHON = environments.FOLDER / "evidently" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="Evidently's environment is not made: run benchmarks/parity.py")
def test_the_real_one_agrees() -> None:
    asked = [case for case in parity.cases(parity.DATA / "nowhere") if case.name.startswith("synthetic")]
    assert len(asked) == 4
    rows = [
        row
        for case, theirs in zip(asked, parity.ask_evidently(asked, PYTHON), strict=True)
        for row in parity.rows_of(case, theirs)
    ]
    assert len(rows) == 36
    assert [row for row in rows if not row.agrees] == []
    assert {row.theirs for row in rows} == {True, False}
    assert all(row.our_score == pytest.approx(row.their_score, abs=5e-3) for row in rows)


def test_verdicts_of_two_frames() -> None:
    case = next(case for case in parity.cases(parity.DATA / "nowhere") if case.name == "synthetic, shifted")
    found = parity.verdicts(case.reference, case.current)
    assert set(found) == set(case.reference.columns)
    assert found["name"] == "drift"
    assert found["constant"] == "none"
