"""A search in a few lines of text: its best trials, how the others ended, and what mattered."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .importance import Importance
from .objectives import Objective, is_whole, pareto
from .trial import Trial

MOST_ROWS = 5


def best_trials(trials: Sequence[Trial], objectives: Sequence[Objective], most: int = MOST_ROWS) -> list[Trial]:
    """The trials to show: of several objectives the Pareto set, of one the best by it."""
    if len(objectives) > 1:
        return pareto(trials, objectives)[:most]
    whole = [trial for trial in trials if is_whole(trial, objectives)]
    return sorted(whole, key=lambda trial: (objectives[0].loss(trial), trial.number))[:most]


def trial_lines(trials: Sequence[Trial], objectives: Sequence[Objective], winner: int | None = None) -> list[str]:
    """The best trials as a table, the winner marked."""
    head = ["trial", *(objective.name for objective in objectives), "epochs", "seconds", "ended", "settings"]
    rows = [head]
    for trial in best_trials(trials, objectives):
        values = [short(objective.value(trial)) for objective in objectives]
        mark = "*" if trial.number == winner else ""
        seconds = f"{trial.cost('wall_seconds'):.1f}"
        described = describe(trial.settings)
        rows.append([f"{mark}{trial.number}", *values, str(trial.epochs), seconds, trial.outcome, described])
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = []
    for row in rows:
        figures = [text.rjust(width) for text, width in zip(row[:-2], widths, strict=False)]
        lines.append("  ".join([*figures, row[-2].ljust(widths[-2]), row[-1]]))
    return lines


def outcome_line(trials: Sequence[Trial], epochs: int) -> str:
    """How the trials ended, and how many epochs of those that they could have run were run."""
    counts = Counter(trial.outcome for trial in trials)
    spent, most = sum(trial.epochs for trial in trials), len(trials) * epochs
    ends = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    cost = sum(trial.cost("cpu_seconds") for trial in trials)
    gpu = sum(trial.cost("gpu_seconds") for trial in trials)
    gpus = f" and {gpu:.1f} GPU seconds" if gpu else ""
    return f"{len(trials)} trials: {ends}; {spent} of {most} epochs, {cost:.1f} CPU seconds{gpus}"


def importance_line(found: Sequence[Importance], objective: Objective) -> str:
    """What mattered, in percent."""
    known = [f"{one.name} {one.share:.0%}" for one in found if not math.isnan(one.share)]
    if not known:
        return f"importances for {objective.name}: too few trials, or they do not differ"
    return f"importances for {objective.name}: {', '.join(known)}"


def describe(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return ", ".join(f"{name} {short(value)}" for name, value in settings.items())


def short(value: Any) -> str:
    """A value, short."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 0.1 or abs(value) >= 1000 else f"{value:.4f}"
    return value if isinstance(value, str) else json.dumps(value)
