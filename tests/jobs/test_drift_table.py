"""A drift report in a terminal, and as plain lines where there is none."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rayloop.jobs import drift_table
from rayloop.jobs.drift_table import STYLES, drift_lines, show_drift, show_report
from rayloop.platform.stats import ColumnDrift, DriftReport
from rayloop.platform.stats.report import VERDICTS
from rich.console import Console

SHAPE = {"draw": "values", "edges": [1, 2], "reference": [9, 0], "window": [0, 9], "apart": {}}
DISTRIBUTIONS = {"age": {"shape": SHAPE}}


def column(name: str, verdict: Any, value: float | None, judged: str | None = "psi") -> ColumnDrift:
    limit = None if judged is None else 0.2
    return ColumnDrift(name, "numeric", {}, judged, value, limit, 0.0, 0.0123, None, verdict, "because")


REPORT = DriftReport(
    reference_rows=3_000,
    current_rows=1_000,
    columns=(
        column("a_column_of_quite_a_long_name_indeed", "none", 0.05),
        column("age", "drift", 1.234567),
        column("city", "possible", 0.25, "total_variation"),
        replace(column("certain", "none", 0.1), adjusted_p=0.0),
        column("nothing", "too_few_rows", None, None),
        column("[red]odd\x1b[2J\n", "drift", 0.5),
    ),
    drifted_share=0.4,
    verdict="drift",
    reason="2 of 6 columns drifted [bold]",
    alpha=0.05,
    anomalies=({"code": "late", "column": None, "severity": "warning", "message": "9 rows came late"},),
)


def printed(is_terminal: bool, report: DriftReport = REPORT, distributions: Any = DISTRIBUTIONS, most: int = 15) -> str:
    out = io.StringIO()
    show_report(
        Console(file=out, force_terminal=is_terminal, width=140, color_system="standard"), report, distributions, most
    )
    return out.getvalue()


def test_plain_lines_are_whole_and_sorted_by_severity() -> None:
    unprintable = "[red]odd\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
    assert [re.split("  +", line) for line in printed(is_terminal=False).splitlines()] == [
        ["drift", "age", "psi 1.23", "limit 0.2", "p 0.012"],
        ["drift", unprintable, "psi 0.5", "limit 0.2", "p 0.012"],
        ["possible drift", "city", "total_variation 0.25", "limit 0.2", "p 0.012"],
        ["too few rows", "nothing", "p 0.012"],
        ["no drift", "certain", "psi 0.1", "limit 0.2", "p <1e-300"],
        ["no drift", "a_column_of_quite_a_long_name_indeed", "psi 0.05", "limit 0.2", "p 0.012"],
        ["warning: 9 rows came late"],
        ["drift on 1000 rows: 2 of 6 columns drifted [bold]"],
    ]


def test_a_narrow_terminal_cuts_names_alone() -> None:
    out = io.StringIO()
    show_report(Console(file=out, force_terminal=True, width=100, color_system=None), REPORT, DISTRIBUTIONS)
    text = out.getvalue()
    assert "total_variation 0.25" in text
    assert "possible drift" in text
    assert re.search(r"a_column_of_q\w*…", text)
    assert text.count("█") == 2
    assert max(len(line) for line in text.splitlines()[:6]) <= 100


def test_only_the_worst_are_shown_and_the_rest_counted() -> None:
    lines = drift_lines(REPORT, most=1)
    assert [line.split()[1] for line in lines[:1]] == ["age"]
    assert lines[1] == "… and 5 columns that drift less"
    assert len(printed(is_terminal=True, most=1).splitlines()) == 5


def test_no_columns_is_a_verdict_alone() -> None:
    empty = DriftReport(0, 0, (), 0.0, "too_few_rows", "the window has 0 rows", 0.05)
    assert printed(is_terminal=False, report=empty) == "too few rows on 0 rows: the window has 0 rows\n"


def test_a_terminal_gets_colours_and_both_distributions() -> None:
    text = printed(is_terminal=True)
    assert "\x1b[1;31mdrift\x1b[0m" in text
    assert "\x1b[33mpossible drift\x1b[0m" in text
    (age,) = [line for line in text.splitlines() if " age " in line]
    assert age.index("█") < age.rindex("█")
    assert age.count("█") == 2
    assert "\x1b[2J" not in text
    assert "[red]odd" in text


def test_a_terminal_without_distributions_has_no_columns_for_them() -> None:
    text = printed(is_terminal=True, distributions=None)
    assert "reference" not in text
    assert "adjusted p" in text


def test_every_verdict_has_a_style() -> None:
    assert set(STYLES) == set(VERDICTS)


def test_what_the_job_gives_back_is_shown_with_the_run_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(drift_table, "console", Console(file=out, width=80))
    stored = REPORT.to_dict() | {"window": [0.0, 1.0], "version": 3}
    show_drift({"report": stored, "pipeline_run": "churn-1"}, most=2)
    show_drift({"report": stored, "pipeline_run": None, "distributions": DISTRIBUTIONS})
    lines = out.getvalue().splitlines()
    assert lines[5] == "follow it: `rayloop pipeline show churn-1 --follow`"
    assert lines[-1] == "drift on 1000 rows: 2 of 6 columns drifted [bold]"
