"""What a search optimizes: values of a trial, the Pareto set of several objectives, and the rule for the winner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...platform.project import Project
from ...platform.project.schema import LOWER_IS_BETTER
from ...platform.project.search import COSTS
from .trial import Trial


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to optimize: a metric of the kept weights, or a cost of the whole trial."""

    name: str

    @property
    def is_minimized(self) -> bool:
        """True where less is better."""
        return self.name in LOWER_IS_BETTER or self.name in COSTS

    @property
    def mode(self) -> str:
        """The word for it in Ray Tune."""
        return "min" if self.is_minimized else "max"

    def value(self, trial: Trial) -> float:
        """The trial's value; nan where it has none."""
        if self.name in COSTS:
            return trial.cost(self.name)
        return trial.reports[-1].kept.get(f"validation_{self.name}", math.nan) if trial.reports else math.nan

    def loss(self, trial: Trial) -> float:
        """The value with its sign turned so that less is better."""
        value = self.value(trial)
        return value if self.is_minimized else -value


def objectives_of(project: Project) -> tuple[Objective, ...]:
    """The project's objectives, the most important first: search.objectives, or its metric alone."""
    return tuple(Objective(name) for name in project.search.objectives or (project.metric,))


def is_whole(trial: Trial, objectives: Sequence[Objective]) -> bool:
    """True where the trial has weights and a number for each objective."""
    return trial.has_score and all(math.isfinite(objective.value(trial)) for objective in objectives)


def pareto(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The trials than which no other is better in one objective and as good in all others, by the first objective."""
    whole = [trial for trial in trials if is_whole(trial, objectives)]
    losses = {trial.number: tuple(objective.loss(trial) for objective in objectives) for trial in whole}
    front = [trial for trial in whole if not any(_dominates(other, losses[trial.number]) for other in losses.values())]
    return sorted(front, key=lambda trial: (losses[trial.number], trial.number))


def winner(trials: Sequence[Trial], objectives: Sequence[Objective], tolerance: float) -> Trial | None:
    """The best trial; None where none has weights.

    Of the Pareto set, those at most `tolerance` worse in the first objective than its best; of these the best in the
    second objective, then the third, then the first; then the trial that was proposed first.
    """
    front = pareto(trials, objectives)
    if not front:
        return None
    first, *others = objectives
    bound = first.loss(front[0]) + tolerance + abs(first.loss(front[0])) * 1e-12
    near = [trial for trial in front if first.loss(trial) <= bound]
    ranks = [*others, first]
    return min(near, key=lambda trial: (tuple(objective.loss(trial) for objective in ranks), trial.number))


def _dominates(other: tuple[float, ...], mine: tuple[float, ...]) -> bool:
    return other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
