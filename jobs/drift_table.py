"""What a person sees of a drift report in a terminal: the worst columns; it reads values and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..platform.report import WORDS, by_severity, read_stored, sparklines
from ..platform.stats import ColumnDrift, DriftReport
from .terminal import console, make_table

MOST_ROWS = 15
LEAST_NAME, GAP = 12, 2
STYLES = {"drift": "bold red", "possible": "yellow", "too_few_rows": "dim", "none": "green"}


def show_drift(result: Mapping[str, Any], most: int = MOST_ROWS) -> None:
    """The columns that moved most, the verdict, and the run that it started: what the drift job gave back."""
    show_report(console, read_stored(result["report"]), result.get("distributions"), most)
    if result["pipeline_run"]:
        console.print(f"follow it: `rayloop pipeline show {result['pipeline_run']} --follow`")


def show_report(
    out: Console, report: DriftReport, distributions: Mapping[str, Any] | None = None, most: int = MOST_ROWS
) -> None:
    """Print a report: a coloured table on a terminal, plain lines of any width elsewhere.

    `distributions` are those of a document; a table shows both of a column as blocks where they are given.
    """
    if not out.is_terminal:
        for line in drift_lines(report, most):
            out.print(line, soft_wrap=True, markup=False, highlight=False)
        return
    out.print(drift_table(report, distributions, most, out.width))
    *others, verdict = _after(report, most)
    for line in others:
        out.print(Text(line))
    out.print(Text(verdict, STYLES[report.verdict]))


def drift_lines(report: DriftReport, most: int = MOST_ROWS) -> list[str]:
    """A line for each of the worst columns, then how many more there are, the anomalies, and the verdict."""
    rows = []
    for column in by_severity(report.columns)[:most]:
        verdict, name, statistic, limit, p_value = _words(column)
        rows.append((verdict, name, statistic, limit and f"limit {limit}", f"p {p_value}"))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [*lines, *_after(report, most)]


def drift_table(
    report: DriftReport, distributions: Mapping[str, Any] | None, most: int = MOST_ROWS, width: int = 100
) -> Table:
    """The worst columns, with both distributions of each where they are given; long names are cut to fit the width."""
    names = ["verdict", "column", "statistic", ">limit", ">adjusted p"]
    names += ["reference", "window"] if distributions else []
    rows = []
    for found in by_severity(report.columns)[:most]:
        verdict, *cells = (Text(words) for words in _words(found))
        verdict.stylize(STYLES[found.verdict])
        rows.append([verdict, *cells, *(_drawn(distributions, found.column) if distributions else ())])
    headers = [Text(name.removeprefix(">")) for name in names]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(headers, *rows, strict=True)]
    room = width - sum(widths) + widths[1] - GAP * (len(widths) - 1)
    table = make_table(*names)
    for row in rows:
        row[1].truncate(max(room, LEAST_NAME), overflow="ellipsis")
        table.add_row(*row)
    return table


def _drawn(distributions: Mapping[str, Any], name: str) -> tuple[Text, Text]:
    if name not in distributions:
        return Text(), Text()
    reference, window = sparklines(distributions[name]["shape"])
    return Text(reference, "dim"), Text(window, "blue")


def _words(column: ColumnDrift) -> tuple[str, str, str, str, str]:
    """Verdict, name, statistic, limit and p of a column; no name can break the line or colour the terminal."""
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in column.column)
    statistic = "" if column.judged is None or column.value is None else f"{column.judged} {column.value:.3g}"
    limit = "" if column.limit is None else f"{column.limit:g}"
    return WORDS[column.verdict], name, statistic, limit, _chance(column.adjusted_p)


def _chance(p_value: float) -> str:
    return f"{p_value:.2g}" if p_value >= 1e-300 else "<1e-300"


def _after(report: DriftReport, most: int) -> list[str]:
    left_out = len(report.columns) - most
    lines = [f"… and {left_out} columns that drift less"] if left_out > 0 else []
    lines += [f"{anomaly.get('severity', 'anomaly')}: {anomaly.get('message', '')}" for anomaly in report.anomalies]
    return [*lines, f"{WORDS[report.verdict]} on {report.current_rows} rows: {report.reason}"]
