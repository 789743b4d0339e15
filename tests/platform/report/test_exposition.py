"""The newest verdicts as Prometheus reads them."""

from __future__ import annotations

import math
import shutil
import subprocess

import pytest
from rayloop.platform.report import DriftCheck, write_metrics

from .conftest import EVIL, build_column, build_report

CHECK = DriftCheck(
    "churn",
    7,
    build_report(
        build_column("age", "drift", 0.5),
        build_column('a"b\\c\nd', "possible", 0.25, limit=None),
        build_column("short", "too_few_rows", None, judged=None, limit=None),
        verdict="possible",
        drifted_share=0.25,
        anomalies=({"code": "null_share", "column": "age", "severity": "error", "message": "many"},),
    ),
    1_790_000_000.5,
)

TEXT = r"""# HELP rayloop_drift_value The statistic that judged a column.
# TYPE rayloop_drift_value gauge
rayloop_drift_value{endpoint="churn",version="7",column="age",statistic="psi"} 0.5
rayloop_drift_value{endpoint="churn",version="7",column="a\"b\\c\nd",statistic="psi"} 0.25
# HELP rayloop_drift_limit The limit of the statistic that judged a column.
# TYPE rayloop_drift_limit gauge
rayloop_drift_limit{endpoint="churn",version="7",column="age",statistic="psi"} 0.2
# HELP rayloop_drift_verdict Verdict on a column: 0 none, 1 possible, 2 drift.
# TYPE rayloop_drift_verdict gauge
rayloop_drift_verdict{endpoint="churn",version="7",column="age"} 2
rayloop_drift_verdict{endpoint="churn",version="7",column="a\"b\\c\nd"} 1
# HELP rayloop_drift_window_verdict Verdict on the window: 0 none, 1 possible, 2 drift.
# TYPE rayloop_drift_window_verdict gauge
rayloop_drift_window_verdict{endpoint="churn",version="7"} 1
# HELP rayloop_drifted_share Share of the columns that drifted, from 0 to 1.
# TYPE rayloop_drifted_share gauge
rayloop_drifted_share{endpoint="churn",version="7"} 0.25
# HELP rayloop_drift_window_rows Rows of the window that was judged.
# TYPE rayloop_drift_window_rows gauge
rayloop_drift_window_rows{endpoint="churn",version="7"} 1000
# HELP rayloop_drift_columns Columns that were judged.
# TYPE rayloop_drift_columns gauge
rayloop_drift_columns{endpoint="churn",version="7"} 3
# HELP rayloop_drift_columns_left_out Columns without series of their own: those that drift least.
# TYPE rayloop_drift_columns_left_out gauge
rayloop_drift_columns_left_out{endpoint="churn",version="7"} 0
# HELP rayloop_drift_anomalies Anomalies of the window beside drift.
# TYPE rayloop_drift_anomalies gauge
rayloop_drift_anomalies{endpoint="churn",version="7"} 1
# HELP rayloop_drift_checked_timestamp_seconds When the window was judged, in seconds since 1970.
# TYPE rayloop_drift_checked_timestamp_seconds gauge
rayloop_drift_checked_timestamp_seconds{endpoint="churn",version="7"} 1790000000.5
# HELP rayloop_drift_reports_unreadable Newest reports that another release wrote, and this one cannot read.
# TYPE rayloop_drift_reports_unreadable gauge
rayloop_drift_reports_unreadable 2
"""


def test_every_gauge_is_there_and_labels_are_escaped() -> None:
    assert write_metrics([CHECK], unreadable=2) == TEXT


def test_nothing_checked_is_a_page_too() -> None:
    lines = write_metrics([]).splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["rayloop_drift_reports_unreadable 0"]


def test_the_worst_columns_have_series_and_the_rest_is_counted() -> None:
    columns = [build_column(f"c{number:04}", "none", number / 10_000) for number in range(1_000)]
    wide = DriftCheck("wide", 1, build_report(*columns, build_column("bad", "drift", 9.0)), 0.0)
    text = write_metrics([CHECK, wide])
    samples = [line for line in text.splitlines() if line.startswith("rayloop_drift_value{") and '"wide"' in line]
    assert len(samples) == 200
    assert 'column="bad"' in samples[0]
    assert 'column="c0999"' in samples[1]
    assert 'column="c0801"' in samples[-1]
    assert 'rayloop_drift_columns_left_out{endpoint="wide",version="1"} 801\n' in text
    assert text.count("# TYPE rayloop_drift_value ") == 1  # samples of one metric lie together


def test_a_limit_without_end_is_written_as_prometheus_does() -> None:
    column = build_column("x", "none", 0.5)
    object.__setattr__(column, "limit", math.inf)
    assert 'statistic="psi"} +Inf\n' in write_metrics([DriftCheck("e", 1, build_report(column), 0.0)])


def test_promtool_finds_no_fault() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    evil = DriftCheck("evil", 2, build_report(build_column(EVIL, "drift", 1e-300)), 1.0)
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=write_metrics([CHECK, evil]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
