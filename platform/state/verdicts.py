"""What was found out about versions: gate verdicts, drift reports and performance reports."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from .database import Database
from .ledger import Ledger
from .tables import drift_report, performance_report, verdict


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """Whether a version kept its gates, and what was measured."""

    passed: bool
    evidence: Mapping[str, Any]
    at_s: float


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """A drift report of an endpoint, as it was stored."""

    endpoint: str
    version: int
    report: Mapping[str, Any]
    at_s: float


class Verdicts:
    """Stores verdicts and reports; the newest one of a version counts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = Ledger(database)

    def add(self, model: str, version: int, passed: bool, evidence: Mapping[str, Any]) -> None:
        """Store the verdict of a version's gates."""
        values = {"model": model, "version": version, "passed": passed, "evidence": dict(evidence)}
        with self._database.transaction() as connection:
            connection.execute(verdict.insert().values(**values, at_s=time.time()))
            self._ledger.append(connection, "validate", f"{model}/{version}", {"passed": passed})

    def latest(self, model: str, version: int) -> VerdictRecord | None:
        """The newest verdict of a version, or None where it was never validated."""
        query = select(verdict).where((verdict.c.model == model) & (verdict.c.version == version))
        with self._database.engine.connect() as connection:
            row = connection.execute(query.order_by(verdict.c.id.desc()).limit(1)).first()
        return None if row is None else VerdictRecord(row.passed, row.evidence, row.at_s)

    def add_drift(self, endpoint: str, version: int, state: str, report: Mapping[str, Any]) -> int:
        """Store a drift report; returns its number."""
        values = {"endpoint": endpoint, "version": version, "verdict": state, "report": dict(report)}
        with self._database.transaction() as connection:
            done = connection.execute(drift_report.insert().values(**values, at_s=time.time()))
            key = done.inserted_primary_key
            assert key is not None
            return int(key[0])

    def latest_drift(self, endpoint: str) -> Mapping[str, Any] | None:
        """The newest drift report of an endpoint as it was stored, or None."""
        query = select(drift_report).where(drift_report.c.endpoint == endpoint)
        with self._database.engine.connect() as connection:
            row = connection.execute(query.order_by(drift_report.c.id.desc()).limit(1)).first()
        return None if row is None else row.report

    def newest_drift(self) -> list[DriftRecord]:
        """The newest drift report of every endpoint that has one, by name."""
        newest = select(func.max(drift_report.c.id)).group_by(drift_report.c.endpoint)
        query = select(drift_report).where(drift_report.c.id.in_(newest)).order_by(drift_report.c.endpoint)
        with self._database.engine.connect() as connection:
            rows = connection.execute(query).all()
        return [DriftRecord(row.endpoint, row.version, row.report, row.at_s) for row in rows]

    def add_performance(self, endpoint: str, version: int | None, state: str, report: Mapping[str, Any]) -> int:
        """Store a performance report, of one version or of all (None); returns its number."""
        values = {"endpoint": endpoint, "version": version, "verdict": state, "report": dict(report)}
        with self._database.transaction() as connection:
            done = connection.execute(performance_report.insert().values(**values, at_s=time.time()))
            key = done.inserted_primary_key
            assert key is not None
            return int(key[0])

    def latest_performance(self, endpoint: str) -> Mapping[str, Any] | None:
        """The newest performance report of an endpoint as it was stored, or None."""
        query = select(performance_report).where(performance_report.c.endpoint == endpoint)
        with self._database.engine.connect() as connection:
            row = connection.execute(query.order_by(performance_report.c.id.desc()).limit(1)).first()
        return None if row is None else row.report
