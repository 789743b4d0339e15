"""What training runs look like in a terminal: the list, and the rows in which several differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from ..platform.state import Run
from .progress import clock_left
from .terminal import clock, make_table

HEADLINES = ("accuracy", "rmse", "auc", "f1", "log_loss", "mae", "r2")


def runs_table(runs: Sequence[Run], now_s: float) -> Table:
    """Runs in the order given, a line each."""
    table = make_table("run", "kind", "state", ">epoch", ">metric", ">version", "began (UTC)", ">took")
    table.columns[0].min_width = max((len(run.key) for run in runs), default=0)  # it is what is typed next
    for run in runs:
        took_s = (run.ended_s or now_s) - run.began_s
        epoch = f"{run.epoch}/{run.epochs}" if run.epochs else ""
        version = "" if run.version is None else f"v{run.version}"
        table.add_row(
            run.key, run.kind, run.state, epoch, headline(run.metrics), version, clock(run.began_s), clock_left(took_s)
        )
    return table


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
    for name, values in differences(runs, every=every):
        table.add_row(name, *values)
    return table


def _rows(facts: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    names = sorted({name for fact in facts for name in fact})
    return [(name, [fact.get(name, "") for fact in facts]) for name in names]
