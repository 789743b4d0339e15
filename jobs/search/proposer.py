"""Proposes settings by Optuna: TPE, CMA-ES, chance, or a grid; it knows trials as values, and no Ray."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ...platform.project.search import SearchConfig
from ...platform.project.space import Parameter, Settings, grid, in_order
from ..training.loop import mix
from .objectives import Objective, is_whole
from .trial import FINISHED, Trial

# How many trials TPE draws by chance first: Optuna's 10 would be all of a small search.
LEAST_STARTUP, MOST_STARTUP = 3, 10
LEAST_SOURCE_TRIALS = 10  # of which CMA-ES takes the best tenth


class Proposer:
    """An Optuna study in memory, told of every trial that ended: here, before a restart, or in an earlier search."""

    def __init__(
        self,
        search: SearchConfig,
        objectives: Sequence[Objective],
        seed: int,
        past: Sequence[Trial] = (),
        warm: Sequence[Trial] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._objectives = search.space, tuple(objectives)
        self._asked: dict[int, optuna.trial.Trial] = {}
        ended = [self._frozen(trial) for trial in (*warm, *past) if trial.has_ended]
        # The sampler draws anew after a restart: with the same seed it would propose the first trials again.
        sampler = _sampler(search, mix(seed, len(past)) % (1 << 32), ended)
        directions = ["minimize" if objective.is_minimized else "maximize" for objective in objectives]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._study.add_trials(ended)
        self._grid: list[Settings] | None = None
        if search.searcher == "grid":
            tried = [dict(trial.settings) for trial in past]
            self._grid = [point for point in grid(search.space) if point not in tried]

    def ask(self, number: int) -> Settings | None:
        """Settings for a new trial; None where a grid has no further point."""
        if self._grid is not None:
            return self._grid.pop(0) if self._grid else None
        trial = self._study.ask()
        settings: Settings = {}
        for name in in_order(self._space):
            parameter = self._space[name]
            if parameter.is_active(settings):
                settings[name] = _draw(trial, name, parameter)
        self._asked[number] = trial
        return settings

    def tell(self, trial: Trial) -> None:
        """How a trial ended; one that was proposed before a restart is added as it is."""
        frozen = self._frozen(trial)
        asked = self._asked.pop(trial.number, None)
        if asked is None:
            self._study.add_trial(frozen)
            return
        for epoch, score in frozen.intermediate_values.items():
            asked.report(score, epoch)
        values = frozen.values if frozen.state == TrialState.COMPLETE else None
        self._study.tell(asked, values, state=frozen.state)

    @property
    def has_more(self) -> bool:
        """False where a grid was walked to its end."""
        return self._grid is None or bool(self._grid)

    @property
    def num_told(self) -> int:
        """How many trials with values the searcher knows."""
        return sum(_is_told(trial) for trial in self._study.trials)

    def _frozen(self, trial: Trial) -> FrozenTrial:
        params = {name: encode(self._space[name], value) for name, value in trial.settings.items()}
        shape: dict[str, Any] = {
            "params": params,
            "distributions": {name: distribution(self._space[name]) for name in params},
        }
        # A trial that went on from another's weights owes its score to neither settings.
        if trial.taken or not is_whole(trial, self._objectives):
            return create_trial(state=TrialState.FAIL, **shape)
        if len(self._objectives) > 1:  # Optuna has no pruned trials with several objectives
            return create_trial(values=[objective.value(trial) for objective in self._objectives], **shape)
        seen = {report.epoch: report.score for report in trial.reports}
        state = TrialState.COMPLETE if trial.outcome == FINISHED else TrialState.PRUNED
        return create_trial(state=state, value=self._objectives[0].value(trial), intermediate_values=seen, **shape)


def distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter as Optuna knows it; choices are JSON texts, since it takes no lists."""
    values = parameter.values
    if parameter.kind == "choice":
        return CategoricalDistribution([json.dumps(value) for value in values])
    if parameter.kind == "int":
        return IntDistribution(int(values[0]), int(values[1]))
    return FloatDistribution(float(values[0]), float(values[1]), log=parameter.kind == "loguniform")


def encode(parameter: Parameter, value: Any) -> Any:
    """A value as Optuna knows it."""
    return json.dumps(value) if parameter.kind == "choice" else value


def _draw(trial: optuna.trial.Trial, name: str, parameter: Parameter) -> Any:
    values = parameter.values
    if parameter.kind == "choice":
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in values]))
    if parameter.kind == "int":
        return trial.suggest_int(name, int(values[0]), int(values[1]))
    return trial.suggest_float(name, float(values[0]), float(values[1]), log=parameter.kind == "loguniform")


def _is_told(trial: FrozenTrial) -> bool:
    return trial.state in {TrialState.COMPLETE, TrialState.PRUNED}


def _sampler(search: SearchConfig, seed: int, told: Sequence[FrozenTrial]) -> optuna.samplers.BaseSampler:
    if search.searcher == "tpe":
        startup = max(LEAST_STARTUP, min(MOST_STARTUP, search.trials // 4))
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    if search.searcher == "cma-es":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of source_trials
            return optuna.samplers.CmaEsSampler(
                seed=seed,
                warn_independent_sampling=False,
                consider_pruned_trials=True,
                source_trials=_source(search, told),
            )
    return optuna.samplers.RandomSampler(seed=seed)


def _source(search: SearchConfig, told: Sequence[FrozenTrial]) -> list[FrozenTrial] | None:
    """What CMA-ES takes its first mean and width from: it counts generations by marks on its own trials alone."""
    complete = [trial for trial in told if trial.state == TrialState.COMPLETE]
    if len(complete) < LEAST_SOURCE_TRIALS or any(parameter.when for parameter in search.space.values()):
        return None
    names = [name for name, parameter in search.space.items() if parameter.is_number]
    return [
        create_trial(
            value=trial.value,
            params={name: trial.params[name] for name in names},
            distributions={name: trial.distributions[name] for name in names},
        )
        for trial in complete
    ]
