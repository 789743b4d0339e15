"""Owns the newest drift verdicts as Prometheus reads them: text format 0.0.4; it knows no sockets and no database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..stats import ColumnDrift, DriftReport
from .severity import by_severity

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_COLUMNS = 200
"""Columns of an endpoint that have series of their own: each has three, and a table may have thousands."""

LEVELS = {"none": 0, "possible": 1, "drift": 2}
"""too_few_rows has no level, and so no sample: an alert on it is `absent()`."""

_METRICS = {
    "rayloop_drift_value": "The statistic that judged a column.",
    "rayloop_drift_limit": "The limit of the statistic that judged a column.",
    "rayloop_drift_verdict": "Verdict on a column: 0 none, 1 possible, 2 drift.",
    "rayloop_drift_window_verdict": "Verdict on the window: 0 none, 1 possible, 2 drift.",
    "rayloop_drifted_share": "Share of the columns that drifted, from 0 to 1.",
    "rayloop_drift_window_rows": "Rows of the window that was judged.",
    "rayloop_drift_columns": "Columns that were judged.",
    "rayloop_drift_columns_left_out": "Columns without series of their own: those that drift least.",
    "rayloop_drift_anomalies": "Anomalies of the window beside drift.",
    "rayloop_drift_checked_timestamp_seconds": "When the window was judged, in seconds since 1970.",
    "rayloop_drift_reports_unreadable": "Newest reports that another release wrote, and this one cannot read.",
}

Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """The newest report of an endpoint, and when it was made."""

    endpoint: str
    version: int
    report: DriftReport
    at_s: float


def write_metrics(checks: Iterable[DriftCheck], unreadable: int = 0, most_columns: int = MAX_COLUMNS) -> str:
    """Write the gauges of the newest checks; of each endpoint the columns that drift most, the rest counted."""
    families: dict[str, list[str]] = {name: [] for name in _METRICS}
    for check in checks:
        for name, labels, value in _samples(check, most_columns):
            families[name].append(f"{name}{_written(labels)} {_number(value)}")
    families["rayloop_drift_reports_unreadable"].append(f"rayloop_drift_reports_unreadable {unreadable}")
    lines: list[str] = []
    for name, samples in families.items():
        if samples:
            lines += [f"# HELP {name} {_METRICS[name]}", f"# TYPE {name} gauge", *samples]
    return "\n".join(lines) + "\n"


def _samples(check: DriftCheck, most_columns: int) -> Iterator[Sample]:
    report, of = check.report, {"endpoint": check.endpoint, "version": str(check.version)}
    shown = by_severity(report.columns)[:most_columns]
    yield from _of_columns(shown, of)
    if report.verdict in LEVELS:
        yield "rayloop_drift_window_verdict", of, LEVELS[report.verdict]
    yield "rayloop_drifted_share", of, report.drifted_share
    yield "rayloop_drift_window_rows", of, report.current_rows
    yield "rayloop_drift_columns", of, len(report.columns)
    yield "rayloop_drift_columns_left_out", of, len(report.columns) - len(shown)
    yield "rayloop_drift_anomalies", of, len(report.anomalies)
    yield "rayloop_drift_checked_timestamp_seconds", of, check.at_s


def _of_columns(columns: Sequence[ColumnDrift], of: Mapping[str, str]) -> Iterator[Sample]:
    for column in columns:
        labels = {**of, "column": column.column}
        judged = {**labels, "statistic": column.judged or ""}
        if column.judged is not None and column.value is not None:
            yield "rayloop_drift_value", judged, column.value
            if column.limit is not None:
                yield "rayloop_drift_limit", judged, column.limit
        if column.verdict in LEVELS:
            yield "rayloop_drift_verdict", labels, LEVELS[column.verdict]


def _written(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """A label's value as the format wants it.

    >>> _escaped('a "b" c')
    'a \\\\"b\\\\" c'
    """
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    special = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
    written = repr(value)
    return special.get(written, written)
