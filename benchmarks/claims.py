"""What is held to be true, with its figure and its goal: how it is printed and written; it measures nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure beside its goal; `value` is None where it could not be measured, and then it does not hold."""

    name: str
    value: float | None
    goal: float
    unit: str
    holds: bool


def at_least(name: str, value: float | None, goal: float, unit: str) -> Claim:
    """A claim of a figure that must reach its goal."""
    is_known = value is not None and not math.isnan(value)
    return Claim(name, value if is_known else None, goal, unit, is_known and value >= goal)  # type: ignore[operator]


def at_most(name: str, value: float | None, goal: float, unit: str) -> Claim:
    """A claim of a figure that must not pass its goal."""
    is_known = value is not None and not math.isnan(value)
    return Claim(name, value if is_known else None, goal, unit, is_known and value <= goal)  # type: ignore[operator]


def all_hold(claims: Sequence[Claim]) -> bool:
    """True where each of them holds."""
    return all(claim.holds for claim in claims)


def show(console: Console, claims: Sequence[Claim]) -> None:
    """Print them for a person."""
    table = Table("claim", box=None)
    for name in ("figure", "goal", ""):
        table.add_column(name, justify="left" if not name else "right")
    for claim in claims:
        word = "holds" if claim.holds else "[bold]does not hold[/bold]"
        table.add_row(claim.name, _text(claim.value), f"{claim.goal:g} {claim.unit}", word)
    console.print(table)


def markdown(claims: Sequence[Claim]) -> str:
    """The same for the docs."""
    rows = ["| claim | figure | goal | |", "| --- | ---: | ---: | --- |"]
    for claim in claims:
        word = "holds" if claim.holds else "**does not hold**"
        rows.append(f"| {claim.name} | {_text(claim.value)} | {claim.goal:g} {claim.unit} | {word} |")
    return "\n".join(rows) + "\n"


def write(path: Path, claims: Sequence[Claim]) -> None:
    """Write them as JSON for programs."""
    path.write_text(json.dumps({"claims": [asdict(claim) for claim in claims]}, indent=1) + "\n")


def _text(value: float | None) -> str:
    return "not measured" if value is None else f"{value:g}"
