"""Measures false alarms and power of the drift verdict: windows drawn from the reference itself, and shifted ones.

Usage: python benchmarks/alarms.py [--quick] [--json FILE] [--markdown FILE]

50 columns of mixed kinds. A false alarm is a window in which any column is called drifted. Power is the share of
windows in which the one shifted column is, still with the correction over all 50.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import claims
import click
import numpy as np
import pyarrow as pa
from rayloop.platform.stats import DriftReport, compare, profile
from rich.console import Console

REFERENCE_ROWS = 20_000
WINDOW_ROWS = 1_000
SHIFTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
SIZES = (200, 500, 1_000, 5_000, 20_000)
GOAL = 0.05
SEED = 17


def drawn(rows: int, generator: np.random.Generator) -> pa.Table:
    """50 columns: numbers of several shapes, categories few and many, truth values, times, missing ones."""
    columns: dict[str, object] = {}
    for place in range(12):
        columns[f"normal{place}"] = generator.normal(place, 1 + place, rows)
    for place in range(8):
        columns[f"skewed{place}"] = generator.lognormal(0, 0.5 + place / 4, rows)
    for place in range(6):
        spiked = generator.uniform(size=rows) < 0.1 * (place + 1)
        columns[f"spiked{place}"] = np.where(spiked, 0.0, generator.exponential(size=rows))
    for place in range(6):
        missing = generator.uniform(size=rows) < 0.05 * (place + 1)
        columns[f"missing{place}"] = pa.array(generator.uniform(size=rows), mask=missing)
    for place in range(6):
        columns[f"count{place}"] = generator.poisson(1 + 3 * place, rows)
    for place in range(8):
        names = np.array([f"c{one}" for one in range(3 + 40 * place)])
        weight = 1 / np.arange(1, len(names) + 1) ** (0.5 + place / 8)
        columns[f"name{place}"] = generator.choice(names, rows, p=weight / weight.sum())
    for place in range(2):
        columns[f"flag{place}"] = generator.uniform(size=rows) < 0.02 + 0.4 * place
    columns["identity"] = generator.integers(0, 10**9, rows).astype(str)
    columns["at"] = pa.array((generator.uniform(0, 1e6, rows) * 1e6).astype(np.int64), pa.timestamp("us"))
    return pa.table(columns)


class Windows:
    """Windows of a reference, drawn from its rows with replacement."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(SEED)
        self._table = drawn(REFERENCE_ROWS, self._generator)
        self._reference = profile(self._table)
        self.num_columns = len(self._reference.columns)

    def judge(self, rows: int, shift: float = 0.0) -> DriftReport:
        """The report on a window, its first column shifted by so many standard deviations."""
        window = self._table.take(pa.array(self._generator.integers(0, REFERENCE_ROWS, rows)))
        if shift:
            moved = window.column("normal0").to_numpy() + shift
            window = window.set_column(0, "normal0", pa.array(moved))
        return compare(self._reference, profile(window, self._reference))


def false_alarms(windows: Windows, num: int) -> tuple[int, int, int]:
    """Of so many windows: those with a drifted column, those with a possible one, and those judged drifted."""
    any_drift = any_possible = whole = 0
    for _ in range(num):
        report = windows.judge(WINDOW_ROWS)
        verdicts = {column.verdict for column in report.columns}
        any_drift += "drift" in verdicts
        any_possible += "possible" in verdicts
        whole += report.verdict == "drift"
    return any_drift, any_possible, whole


def power(windows: Windows, num: int) -> list[tuple[int, list[float], float | None]]:
    """By window size: the share of windows that find each shift, and the smallest effect that they state."""
    found = []
    for rows in SIZES:
        shares, smallest = [], None
        for shift in SHIFTS:
            reports = [windows.judge(rows, shift) for _ in range(num)]
            columns = [next(one for one in report.columns if one.column == "normal0") for report in reports]
            shares.append(sum(column.verdict == "drift" for column in columns) / num)
            smallest = columns[0].smallest_effect
        found.append((rows, shares, smallest))
    return found


def power_table(found: Sequence[tuple[int, list[float], float | None]]) -> str:
    """The curve as a table for the docs."""
    head = " | ".join(f"{shift:g} std" for shift in SHIFTS)
    lines = [f"| window rows | {head} | smallest effect stated |", "| ---: " * (len(SHIFTS) + 2) + "|"]
    for rows, shares, smallest in found:
        cells = " | ".join(f"{share:.0%}" for share in shares)
        lines.append(f"| {rows:,} | {cells} | {'' if smallest is None else f'{smallest:.3f} std'} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--quick", is_flag=True, help="a tenth of the windows")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="write the claims here as JSON")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="write claims and curve here")
def main(quick: bool, json_path: Path | None, markdown_path: Path | None) -> None:
    """Draw the windows and judge them."""
    console, windows = Console(), Windows()
    num, num_power = (200, 10) if quick else (2_000, 40)
    any_drift, any_possible, whole = false_alarms(windows, num)
    bound = GOAL + 3 * math.sqrt(GOAL * (1 - GOAL) / num)
    found = [
        claims.at_most("windows with any false alarm", any_drift / num, round(bound, 4), "of windows"),
        claims.at_most("windows called drifted", whole / num, 0.0, "of windows"),
    ]
    console.print(f"{num} windows of {WINDOW_ROWS} rows, {windows.num_columns} columns; 'possible' in {any_possible}")
    curve = power(windows, num_power)
    found.append(claims.at_least("power for 0.3 std in 1,000 rows", curve[2][1][4], 0.9, "of windows"))
    console.print(power_table(curve), markup=False)
    claims.show(console, found)
    if json_path:
        claims.write(json_path, found)
    if markdown_path:
        markdown_path.write_text(claims.markdown(found) + "\n" + power_table(curve))
    raise SystemExit(0 if claims.all_hold(found) else 1)


if __name__ == "__main__":
    main()
