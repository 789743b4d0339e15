"""Windows drawn from the reference itself raise no more alarms than were allowed, and a real shift is found."""

from __future__ import annotations

import math

import alarms


def test_false_alarms_and_power() -> None:
    windows = alarms.Windows()
    num = 60
    any_drift, _, whole = alarms.false_alarms(windows, num)
    assert any_drift / num <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / num)
    assert whole == 0
    found = [windows.judge(1_000, shift=0.3) for _ in range(5)]
    assert all("normal0" in report.drifted for report in found)


def test_the_curve_is_a_table() -> None:
    text = alarms.power_table([(200, [0.0] * len(alarms.SHIFTS), None), (1_000, [1.0] * len(alarms.SHIFTS), 0.1)])
    assert {len(line.split("|")) for line in text.splitlines()} == {len(alarms.SHIFTS) + 4}
    assert "0.100 std" in text
