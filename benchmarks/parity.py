"""Compares rayloop's verdicts under compat="evidently" with the real Evidently's, column by column, on real data.

Usage: python benchmarks/parity.py [--data FOLDER] [--json FILE] [--markdown FILE]

Evidently runs in an environment of its own. Every case runs with a reference of 1,000 rows, where tests decide, and
of more, where distances do.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import claims
import click
import environments
import numpy as np
import pandas as pd
from rayloop.platform.stats import DriftReport, compare, profile
from rich.console import Console

SMALL = 1_000
SCRIPT = Path(__file__).with_name("evidently_judge.py")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 7
TIMEOUT_S = 900
WORDS = {True: "drift", False: "none"}


@dataclass(frozen=True, slots=True)
class Case:
    """Two sides of one data set."""

    name: str
    reference: pd.DataFrame
    current: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Row:
    """One column of one case, as both judge it; `ours` is None where we do not judge it."""

    case: str
    column: str
    theirs: bool
    ours: bool | None
    method: str
    their_score: float
    our_score: float | None

    @property
    def agrees(self) -> bool:
        return self.theirs == self.ours


def judge(reference: pd.DataFrame, current: pd.DataFrame) -> DriftReport:
    """Our report by Evidently's rules; a small reference gets exact bins, as its KS is of the raw values."""
    known = profile(reference, exact=len(reference) <= SMALL)
    return compare(known, profile(current, known), compat="evidently")


def verdicts(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, str]:
    """The verdict on each column, by Evidently's rules."""
    return {column.column: column.verdict for column in judge(reference, current).columns}


def cases(data: Path) -> Iterator[Case]:
    """Real and synthetic pairs, with and without a drift; each once with a small reference."""
    for name, reference, current in [*_real(data), *_synthetic()]:
        reference, current = reference.reset_index(drop=True), current.reset_index(drop=True)
        small = reference.sample(min(SMALL, len(reference)), random_state=SEED)
        yield Case(f"{name}, small", small, current.sample(min(2 * SMALL, len(current)), random_state=SEED))
        if len(reference) > SMALL:
            yield Case(name, reference, current)


def _real(data: Path) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    if not data.exists():
        return
    adult = pd.read_parquet(data / "adult/adult.parquet")
    yield "adult halves", adult[: len(adult) // 2], adult[len(adult) // 2 :]
    sexes = adult["sex"].str.strip().str.lower() == "female"
    yield "adult men, women", adult[~sexes], adult[sexes]
    bike = pd.read_parquet(data / "bike_sharing/hour.parquet")
    bike = bike.drop(columns=[name for name in ("dteday", "instant") if name in bike])
    yield "bike 2011, 2012", bike[bike.yr == bike.yr.min()], bike[bike.yr == bike.yr.max()]
    seasons = sorted(bike.season.unique())
    yield "bike winter, summer", bike[bike.season == seasons[0]], bike[bike.season == seasons[2]]
    wine = pd.read_parquet(data / "wine_quality/wine_quality.parquet")
    yield "wine red, white", wine[wine.color == "red"], wine[wine.color == "white"]
    white = wine[wine.color == "white"].sample(frac=1, random_state=SEED)
    yield "white wine, random halves", white[:2449], white[2449:]
    power = pd.read_parquet(data / "electricity/electricity.parquet")
    yield "electricity at 17,424", power[:17_424], power[17_424:]
    yield "electricity, first quarters", power[:8_000], power[8_000:16_000]
    german = pd.read_parquet(data / "german_credit/german.parquet")
    yield "german halves", german[:500], german[500:]


def _synthetic() -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    yield "synthetic, the same", _drawn(1, 4_000, 0.0), _drawn(2, 3_000, 0.0)
    yield "synthetic, shifted", _drawn(3, 4_000, 0.0), _drawn(4, 3_000, 0.15)


def _drawn(seed: int, rows: int, shift: float) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    values = generator.normal(shift, 1, rows)
    values[::50] = np.nan
    wide = generator.lognormal(shift, 1.5, rows)
    wide[::97] = np.inf
    names = np.array([f"c{place}" for place in range(40)])
    return pd.DataFrame(
        {
            "normal": values,
            "wide": wide,
            "constant": np.ones(rows),
            "few": generator.integers(0, 4, rows).astype(float) + (generator.uniform(size=rows) < shift),
            "count": generator.poisson(3 + shift, rows),
            "many": generator.poisson(40 + 10 * shift, rows),
            "flag": generator.uniform(size=rows) < 0.3 + shift / 3,
            "pair": np.where(generator.uniform(size=rows) < 0.5 + shift, "yes", "no"),
            "name": names[np.minimum(generator.zipf(1.6, rows) - 1 + int(20 * shift), 39)],
        }
    )


def ask_evidently(asked: Sequence[Case], python: Path) -> list[dict[str, Any]]:
    """What the real one says of each case."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for place, case in enumerate(asked):
            paths = [str(Path(folder) / f"{place}-{side}.parquet") for side in ("reference", "current")]
            case.reference.to_parquet(paths[0], index=False)
            case.current.to_parquet(paths[1], index=False)
            pairs.append(paths)
        listed = Path(folder) / "pairs.json"
        listed.write_text(json.dumps(pairs))
        done = subprocess.run(
            [str(python), str(SCRIPT), str(listed)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def rows_of(case: Case, theirs: Mapping[str, Any]) -> list[Row]:
    """Both judgements, column by column."""
    ours = {column.column: column for column in judge(case.reference, case.current).columns}
    rows = []
    for name, one in theirs["columns"].items():
        mine = ours.get(name)
        drifts = None if mine is None or mine.judged is None else mine.verdict == "drift"
        score = None if mine is None else mine.value
        rows.append(Row(case.name, name, one["drift"], drifts, str(one["method"]), one["score"], score))
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The columns on which the two differ, and how many there are."""
    lines = ["| case | column | Evidently's method | its score | ours | its verdict | ours |", "|" + " --- |" * 7]
    for row in rows:
        if not row.agrees:
            mine = {None: "not judged", True: "drift", False: "none"}[row.ours]
            score = "" if row.our_score is None else f"{row.our_score:.4g}"
            cells = (row.case, row.column, row.method, f"{row.their_score:.4g}", score, WORDS[row.theirs], mine)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="the real data sets")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="write the claims here as JSON")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="write the differences here")
def main(data: Path, json_path: Path | None, markdown_path: Path | None) -> None:
    """Compare all cases and say where the two differ."""
    console = Console()
    python = environments.make("evidently") / "python"
    asked = list(cases(data))
    rows = [
        row for case, theirs in zip(asked, ask_evidently(asked, python), strict=True) for row in rows_of(case, theirs)
    ]
    judged = [row for row in rows if row.ours is not None]
    apart = [
        abs(row.our_score - row.their_score) / max(row.their_score, 0.1) for row in judged if row.our_score is not None
    ]
    worst = judged[int(np.argmax(apart))]
    console.print(f"furthest apart: {worst.case}, {worst.column}: {worst.their_score:.4g}, {worst.our_score:.4g}")
    console.print(markdown(rows), markup=False)
    console.print(f"{len(rows)} columns of {len(asked)} cases, {len(judged)} of them judged by us")
    found = [
        claims.at_least("columns with Evidently's verdict", sum(row.agrees for row in judged) / len(judged), 0.99, ""),
        claims.at_most("largest relative difference of a score", max(apart), 0.05, ""),
    ]
    claims.show(console, found)
    if json_path:
        claims.write(json_path, found)
    if markdown_path:
        markdown_path.write_text(markdown(rows))
    raise SystemExit(0 if claims.all_hold(found) else 1)


if __name__ == "__main__":
    main()
