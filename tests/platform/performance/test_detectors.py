"""The detectors fire soon after a change of errors and not before, on made and on real streams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from rayloop.platform.performance.detectors import find_alarms
from sklearn.tree import DecisionTreeClassifier

Real = Callable[[str], pa.Table]
FITTED = 5_000  # rows that the frozen model saw


def frozen_errors(table: pa.Table, features: list[str], target: str, rows: int) -> np.ndarray:
    """Errors after the first rows of a tree that was fitted on them and never again.

    Its leaves are large: the set's blocks repeat their rows, and a tree that knew them by heart would err less on them.
    """
    columns = np.column_stack([table.column(name).to_numpy()[:rows] for name in features]).astype(float)
    labels = table.column(target).to_numpy()[:rows]
    model = DecisionTreeClassifier(min_samples_leaf=100, random_state=0).fit(columns[:FITTED], labels[:FITTED])
    return (model.predict(columns[FITTED:]) != labels[FITTED:]).astype(float)


def test_each_change_of_concept_is_found_and_nothing_else(real: Real) -> None:
    table = real("synthetic_drift/mixed_0101_abrupto")
    errors = frozen_errors(table, ["X1", "X2", "X3", "X4"], "class", rows=32_000)
    alarms = find_alarms(errors, np.arange(len(errors)) * 1_000_000)
    by_name: dict[str, list[int]] = {}
    for alarm in alarms:
        assert alarm.at_s == alarm.index
        by_name.setdefault(alarm.detector, []).append(alarm.index + FITTED)
    changes = [10_000, 20_000, 30_000]
    for name in ("ADWIN", "Page-Hinkley"):
        assert len(by_name[name]) == 3, by_name
        for change, fired in zip(changes, by_name[name], strict=True):
            assert change < fired <= change + 100, by_name
    # It sees the newest 20,000 errors alone, from row 12,000 on.
    assert [change < fired <= change + 100 for change, fired in zip(changes[1:], by_name["KSWIN"], strict=True)] == [
        True,
        True,
    ]
    assert [alarm.rose for alarm in alarms if alarm.detector == "ADWIN"] == [True, False, True]


def test_a_real_stream_that_drifts_all_the_time_gives_alarms_all_the_time(real: Real) -> None:
    features = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
    errors = frozen_errors(real("electricity/electricity"), features, "label", rows=25_000)
    alarms = find_alarms(errors, np.arange(len(errors)), kswin_errors=2_000)
    fired = {name: sum(alarm.detector == name for alarm in alarms) for name in ("ADWIN", "Page-Hinkley")}
    assert min(fired.values()) >= 5, fired
    halves = [sum(alarm.index < 10_000 for alarm in alarms), sum(alarm.index >= 10_000 for alarm in alarms)]
    assert min(halves) >= 3, halves
    shuffled = np.random.default_rng(0).permutation(errors)  # the same errors without their order
    assert [a for a in find_alarms(shuffled, np.arange(len(errors)), kswin_errors=2_000) if a.detector == "ADWIN"] == []


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_a_regression_s_errors_may_have_any_unit(unit: float) -> None:
    random = np.random.default_rng(0)
    errors = unit * np.concatenate([np.abs(random.normal(size=2_000)), np.abs(random.normal(0, 3, 1_000))])
    alarms = find_alarms(errors, np.arange(3_000))
    assert {alarm.detector for alarm in alarms} == {"ADWIN", "Page-Hinkley", "KSWIN"}
    first = {name: min(a.index for a in alarms if a.detector == name) for name in ("ADWIN", "Page-Hinkley", "KSWIN")}
    assert all(2_000 < index < 2_200 for index in first.values()), first


def test_steady_streams_give_no_alarm() -> None:
    for seed in range(3):
        errors = (np.random.default_rng(seed).uniform(size=5_000) < 0.2).astype(float)
        assert find_alarms(errors, np.arange(5_000)) == []
    assert find_alarms(np.zeros(0), np.zeros(0, np.int64)) == []
    assert find_alarms(np.zeros(300), np.arange(300)) == []
