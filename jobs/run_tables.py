"""What training runs look like in a terminal: the list, and the rows in which several differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from ..platform.state import Run
from .progress import clock_left
from .terminal import clock, make_table

HEADLINES = ("accuracy", "rmse", "auc", "f1", "log_loss", "mae", "r2")


DISPENSABLE = ("began (UTC)", "took", "kind", "epoch", "metric", "version")
"""Columns that give way in a narrow terminal, the first one first; a run's name and its state stay."""
GAP = 2  # between two columns
MOST_REASONS = 3


def runs_table(runs: Sequence[Run], now_s: float, width: int = 160) -> Table:
    """Runs in the order given, a line each, in as many columns as the width has room for."""
    rows = [_cells(run, now_s) for run in runs]
    names = [">" + name if name in {"epoch", "metric", "version", "took"} else name for name in _cells(_NONE, 0)]
    for column in DISPENSABLE:
        if sum(_width(name, rows) + GAP for name in names) - GAP <= width:
            break
        names = [name for name in names if name.removeprefix(">") != column]
    table = make_table(*names)
    table.columns[0].min_width = _width("run", rows)  # it is what is typed next
    for row in rows:
        table.add_row(*(row[name.removeprefix(">")] for name in names))
    return table


def reasons(runs: Sequence[Run]) -> list[str]:
    """Why the latest of them failed, a sentence each."""
    return [f"{run.key}: {run.error}" for run in runs if run.error][-MOST_REASONS:]


def _cells(run: Run, now_s: float) -> dict[str, str]:
    """What is told of a run, by column."""
    return {
        "run": run.key,
        "kind": run.kind,
        "state": run.state,
        "epoch": f"{run.epoch}/{run.epochs}" if run.epochs else "",
        "metric": headline(run.metrics),
        "version": "" if run.version is None else f"v{run.version}",
        "began (UTC)": clock(run.began_s),
        "took": clock_left((run.ended_s or now_s) - run.began_s),
    }


_NONE = Run("", "", "")


def _width(name: str, rows: Sequence[Mapping[str, str]]) -> int:
    plain = name.removeprefix(">")
    return max(len(plain), *(len(row[plain]) for row in rows), 0)


def headline(metrics: Mapping[str, float]) -> str:
    """The one metric that stands for a run: held out where it was measured, else of the validation."""
    for part in ("test", "validation"):
        for name in HEADLINES:
            if f"{part}_{name}" in metrics:
                return f"{name} {metrics[f'{part}_{name}']:.4f}"
    return f"train_loss {metrics['train_loss']:.4f}" if "train_loss" in metrics else ""


def differences(runs: Sequence[Run], *, every: bool = False) -> list[tuple[str, list[str]]]:
    """Settings, then metrics, that are not the same in all runs; `every` gives those that are, too.

    Metrics whose name holds a `/` tell of the machine, not of the model, and are compared only with `every`.
    """
    facts = [{**run.params, "code commit": run.tags.get("mlflow.source.git.commit", "")[:12]} for run in runs]
    rows = _rows([{name: value for name, value in fact.items() if value} for fact in facts])
    numbers = [{name: f"{value:.6g}" for name, value in run.metrics.items()} for run in runs]
    rows += [row for row in _rows(numbers) if every or "/" not in row[0]]
    return [row for row in rows if every or len(set(row[1])) > 1]


def comparison_table(runs: Sequence[Run], *, every: bool) -> Table:
    """A column for each run, a line for each difference."""
    table = make_table("", *(f">{run.key}" for run in runs))
    for column in table.columns:
        column.overflow = "fold"  # keys begin alike, so one that is cut off names no run
    for name, values in differences(runs, every=every):
        table.add_row(name, *values)
    return table


def _rows(facts: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    names = sorted({name for fact in facts for name in fact})
    return [(name, [fact.get(name, "") for fact in facts]) for name in names]
