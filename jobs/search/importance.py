"""How much each searched setting mattered to an objective, by Optuna's fANOVA over the trials of one search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from ...platform.project.space import Parameter
from .objectives import Objective, is_whole
from .proposer import distribution, encode
from .trial import Trial

LEAST_TRIALS = 4


@dataclass(frozen=True, slots=True)
class Importance:
    """One setting's share of the objective's variance; nan where too few trials had it, or none differed."""

    name: str
    share: float
    trials: int
    """How many trials it was estimated from: one with a condition is compared where it exists."""


def importances(
    trials: Sequence[Trial], space: Mapping[str, Parameter], objective: Objective, seed: int
) -> list[Importance]:
    """Each parameter's importance, the greatest first; a constant objective has none, and gives nan."""
    # A population's trial changed its settings on the way: its score is not that of the settings it ended with.
    scored = [trial for trial in trials if is_whole(trial, [objective]) and not trial.taken]
    always = [name for name, parameter in space.items() if not parameter.when]
    shared = _shares(scored, space, always, objective, seed)
    found = [Importance(name, shared.get(name, math.nan), len(scored)) for name in always]
    for name in (name for name, parameter in space.items() if parameter.when):
        having = [trial for trial in scored if name in trial.settings]
        beside = [other for other in always if all(other in trial.settings for trial in having)]
        share = _shares(having, space, [*beside, name], objective, seed).get(name, math.nan)
        found.append(Importance(name, share, len(having)))
    return sorted(found, key=lambda one: (math.isnan(one.share), -one.share if one.share == one.share else 0, one.name))


def _shares(
    trials: Sequence[Trial], space: Mapping[str, Parameter], names: Sequence[str], objective: Objective, seed: int
) -> dict[str, float]:
    values = [objective.value(trial) for trial in trials]
    if len(trials) < LEAST_TRIALS or not names or max(values) == min(values):
        return {}
    study = optuna.create_study(direction="minimize" if objective.is_minimized else "maximize")
    for trial, value in zip(trials, values, strict=True):
        params = {name: encode(space[name], trial.settings[name]) for name in names}
        ranges = {name: distribution(space[name]) for name in names}
        study.add_trial(create_trial(value=value, params=params, distributions=ranges))
    varied = [name for name in names if len({str(trial.settings[name]) for trial in trials}) > 1]
    if not varied:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=seed)
    found = get_param_importances(study, evaluator=evaluator, params=varied)
    return {name: float(found.get(name, 0.0)) for name in names}
