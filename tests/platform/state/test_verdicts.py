"""The newest verdict and the newest drift report count."""

from __future__ import annotations

import time

import pytest
from rayloop.platform.state import Database, Ledger, Verdicts


@pytest.fixture
def verdicts(database: Database) -> Verdicts:
    return Verdicts(database)


def test_the_newest_verdict_of_a_version_counts(verdicts: Verdicts, database: Database) -> None:
    assert verdicts.latest("churn", 1) is None
    verdicts.add("churn", 1, False, {"metrics": {"auc": 0.5}})
    verdicts.add("churn", 2, False, {})
    verdicts.add("churn", 1, True, {"metrics": {"auc": 0.9}})
    found = verdicts.latest("churn", 1)
    assert found is not None
    assert (found.passed, found.evidence) == (True, {"metrics": {"auc": 0.9}})
    other = verdicts.latest("churn", 2)
    assert other is not None
    assert other.passed is False
    assert verdicts.latest("fraud", 1) is None
    entries = [(entry.action, entry.subject, entry.detail) for entry in Ledger(database).entries()]
    assert entries == [
        ("validate", "churn/1", {"passed": False}),
        ("validate", "churn/2", {"passed": False}),
        ("validate", "churn/1", {"passed": True}),
    ]


def test_the_newest_drift_report_of_an_endpoint_counts(verdicts: Verdicts) -> None:
    assert verdicts.latest_drift("churn") is None
    numbers = [
        verdicts.add_drift("churn", 1, "none", {"verdict": "none"}),
        verdicts.add_drift("fraud", 1, "drifted", {"verdict": "drifted"}),
        verdicts.add_drift("churn", 2, "drifted", {"verdict": "drifted", "columns": [{"psi": 0.25}]}),
    ]
    assert numbers == sorted(set(numbers))
    assert verdicts.latest_drift("churn") == {"verdict": "drifted", "columns": [{"psi": 0.25}]}
    newest = [(found.endpoint, found.version, found.report["verdict"]) for found in verdicts.newest_drift()]
    assert newest == [("churn", 2, "drifted"), ("fraud", 1, "drifted")]
    assert all(0 <= time.time() - found.at_s < 60 for found in verdicts.newest_drift())


def test_without_a_drift_report_there_is_no_newest(verdicts: Verdicts) -> None:
    assert verdicts.newest_drift() == []


def test_the_newest_performance_report_of_an_endpoint_counts(verdicts: Verdicts) -> None:
    assert verdicts.latest_performance("churn") is None
    numbers = [
        verdicts.add_performance("churn", 1, "none", {"verdict": "none"}),
        verdicts.add_performance("fraud", 1, "drift", {"verdict": "drift"}),
        verdicts.add_performance("churn", None, "drift", {"verdict": "drift", "windows": []}),
    ]
    assert numbers == sorted(set(numbers))
    assert verdicts.latest_performance("churn") == {"verdict": "drift", "windows": []}
    assert verdicts.latest_drift("churn") is None
