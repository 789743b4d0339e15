"""Judges real data whose drift is known, and says what a person would: the table in docs/drift.md.

Usage: python benchmarks/real_drift.py [--data FOLDER] [--multivariate] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import claims
import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rayloop.platform.stats import DriftReport, compare, multivariate_drift, profile
from rich.console import Console

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """Two parts of one data set, and what a person who knows it says."""

    name: str
    reference: pa.Table
    current: pa.Table
    person: str
    """In words."""
    expected: str
    """The window's verdict that follows from that."""


def pairs(data: Path) -> Iterator[Pair]:
    """Every pair; columns that are a clock or that define the parts are left out, since they must differ."""
    yield from _bikes(data)
    yield from _electricity(data)
    yield from _wine(data)
    yield from _flights(data)
    yield from _forest(data)
    yield from _concepts(data)


def _read(path: Path, *left_out: str) -> pa.Table:
    return pq.read_table(path).drop_columns(list(left_out))


def _halves(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    mixed = table.take(pa.array(np.random.default_rng(SEED).permutation(table.num_rows)))
    return mixed.slice(0, table.num_rows // 2), mixed.slice(table.num_rows // 2)


def _bikes(data: Path) -> Iterator[Pair]:
    table = _read(data / "bike_sharing/hour.parquet", "timestamp", "instant", "dteday", "mnth")
    season, clean = table.column("season"), table.drop_columns(["season"])
    winter, summer = (clean.filter(pc.equal(season, number)) for number in (1, 3))
    yield Pair("bike sharing, winter → summer", winter, summer, "temperature and demand rise", "drift")
    yield Pair("bike sharing, random halves", *_halves(clean), "the same hours, shuffled", "none")


def _electricity(data: Path) -> Iterator[Pair]:
    table = _read(data / "electricity/electricity.parquet", "timestamp", "date", "class")
    yield Pair(
        "electricity, before → after row 17,424",
        table.slice(0, 17_424),
        table.slice(17_424),
        "Victoria's price, demand and transfer begin to vary",
        "drift",
    )
    yield Pair("electricity, random halves", *_halves(table.slice(17_424)), "the same half hours, shuffled", "none")


def _wine(data: Path) -> Iterator[Pair]:
    table = _read(data / "wine_quality/wine_quality.parquet")
    is_red, clean = pc.equal(table.column("color"), "red"), table.drop_columns(["color"])
    red, white = clean.filter(is_red), clean.filter(pc.invert(is_red))
    yield Pair("wine, red → white", red, white, "another drink", "drift")
    yield Pair("white wine, random halves", *_halves(white), "the same bottles, shuffled", "none")


def _flights(data: Path) -> Iterator[Pair]:
    table = _read(data / "nycflights13/flights.parquet", "date", "year", "day", "tailnum", "flight")
    month, clean = table.column("month"), table.drop_columns(["month"])
    of = {number: clean.filter(pc.equal(month, number)) for number in (9, 10, 12)}
    yield Pair(
        "flights, September → December",
        of[9],
        of[12],
        "delays double (13 % to 33 % late), the timetable is the same: watch it",
        "possible",
    )
    yield Pair("flights, September → October", of[9], of[10], "an ordinary month after another", "none")


def _forest(data: Path) -> Iterator[Pair]:
    table = _read(data / "covertype/covertype_first20k.parquet")
    yield Pair(
        "covertype, balanced 15,120 → natural",
        table.slice(0, 15_120),
        table.slice(15_120),
        "other classes from a few areas: heights, distances and soils differ",
        "drift",
    )


def _concepts(data: Path) -> Iterator[Pair]:
    table = _read(data / "synthetic_drift/mixed_0101_abrupto.parquet")
    yield Pair(
        "mixed_0101_abrupto, concept 0 → 1",
        table.slice(0, 10_000),
        table.slice(10_000, 10_000),
        "only the rule from X to class turns round: no column moves, so it must stay silent",
        "none",
    )


def judge(pair: Pair) -> DriftReport:
    """Our report by the default limits."""
    reference = profile(pair.reference)
    return compare(reference, profile(pair.current, reference))


def described(report: DriftReport, most: int = 4) -> str:
    """The columns furthest above their limits, or how close the next one comes."""
    ranked = sorted(report.columns, key=lambda one: -((one.value or 0.0) / (one.limit or 1.0)))
    shown = [one for one in ranked if one.verdict in ("drift", "possible")][:most] or ranked[:1]
    return ", ".join(f"{one.column} {one.judged} {one.value:.2f}" for one in shown if one.value is not None)


def table_of(judged: list[tuple[Pair, DriftReport]], joint: Callable[[Pair], str] | None) -> str:
    """The table for the docs."""
    head = ["data", "verdict", "columns drifted, possible", "furthest", "a person says"]
    lines = [[*head, "together"] if joint else head]
    lines.append(["---"] * len(lines[0]))
    for pair, report in judged:
        possible = sum(column.verdict == "possible" for column in report.columns)
        counted = f"{len(report.drifted)}, {possible} of {len(report.columns)}"
        cells = [pair.name, report.verdict, counted, described(report), pair.person]
        lines.append([*cells, joint(pair)] if joint else cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _together(pair: Pair) -> str:
    found = multivariate_drift(pair.reference, pair.current)
    return f"{found['verdict']}, AUC {found['classifier']['auc']:.2f}"


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=DATA, help="the real data sets")
@click.option("--multivariate", is_flag=True, help="look at the columns together too: minutes")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="write the claims here as JSON")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="write the table here")
def main(data: Path, multivariate: bool, json_path: Path | None, markdown_path: Path | None) -> None:
    """Judge every pair."""
    console = Console()
    judged = [(pair, judge(pair)) for pair in pairs(data)]
    text = table_of(judged, _together if multivariate else None)
    console.print(text, markup=False)
    agreed = sum(report.verdict == pair.expected for pair, report in judged)
    found = [claims.at_least("verdicts that a person would give", agreed / len(judged), 1.0, "of pairs")]
    claims.show(console, found)
    if json_path:
        claims.write(json_path, found)
    if markdown_path:
        markdown_path.write_text(text)
    raise SystemExit(0 if claims.all_hold(found) else 1)


if __name__ == "__main__":
    main()
