"""Ray Tune's schedulers around the board: each report is judged, written down with its verdict, and only then obeyed.

ASHA and median stopping know trials by their number, so that what they saw before a kill can be played to them again
and a trial that goes on is the one that they knew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray.tune
from ray.tune import Callback
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from ...platform.project.search import SearchConfig
from ...platform.project.space import Parameter
from .board import CONFIG, Board
from .objectives import Objective
from .trial import FAILED

TIME = "epoch"
CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


@dataclass(frozen=True, slots=True)
class Known:
    """A trial as ASHA and median stopping see it."""

    trial_id: str


class NoOthers:
    """The controller as they see it: nobody waits, so none is paused for another."""

    def get_live_trials(self) -> list[Any]:
        """None."""
        return []


class Unsaved:
    """Ray pickles a scheduler into its own snapshot, which nobody reads: the board is no part of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Watched(Unsaved, FIFOScheduler):  # type: ignore[misc]
    """Lets `judge` (ASHA, median stopping or nobody) decide, and keeps the board."""

    def __init__(self, board: Board, epochs: int, judge: TrialScheduler | None) -> None:
        super().__init__()
        self._board, self._epochs, self._judge = board, epochs, judge
        self._numbers: dict[str, int] = {}
        self._added: set[int] = set()
        self._replay()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """Learn which of ours it is."""
        number = self._numbers.setdefault(trial.trial_id, trial.config[CONFIG]["number"])
        self._add(number)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Judge one report."""
        number = self._numbers[trial.trial_id]
        if result.get("ended"):
            self._board.end(number, result["ended"], result["why"])
            return str(STOP)
        is_weak = result[TIME] < self._epochs and self._judged(number, result) == STOP
        reported = self._board.report(number, result, checkpoint_path(trial, result), stop=is_weak)
        return str(STOP if reported.has_ended else CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """It came to its end by itself."""
        self._board.complete(self._numbers[trial.trial_id])

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to do: Ray calls it at each death of the process, also where it starts another."""

    def failed(self, trial: Any) -> None:
        """Its process died more often than it may."""
        self._board.end(self._numbers[trial.trial_id], FAILED, last_words(trial))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to do: what was seen of it counts."""

    def _add(self, number: int) -> None:
        if self._judge is not None and number not in self._added:
            self._judge.on_trial_add(NoOthers(), Known(str(number)))
        self._added.add(number)

    def _judged(self, number: int, result: Mapping[str, Any]) -> str:
        if self._judge is None:
            return str(CONTINUE)
        return str(self._judge.on_trial_result(NoOthers(), Known(str(number)), dict(result)))

    def _replay(self) -> None:
        seen = [(report.order, trial.number, report) for trial in self._board.trials for report in trial.reports]
        for _, number, report in sorted(seen, key=lambda entry: entry[0]):
            self._add(number)
            if report.epoch < self._epochs:
                self._judged(number, {TIME: report.epoch, "score": report.score})


class Population(Unsaved, PopulationBasedTraining):  # type: ignore[misc]
    """Population based training that writes down who went on from whose weights."""

    def __init__(self, board: Board, epochs: int, search: SearchConfig, mode: str) -> None:
        self._board, self._epochs = board, epochs
        self._numbers: dict[str, int] = {}
        space = {name: search.space[name] for name in search.perturbed}
        super().__init__(
            time_attr=TIME,
            metric="current",
            mode=mode,
            perturbation_interval=search.perturb_epochs,
            hyperparam_mutations={CONFIG: {"settings": {name: _domain(one) for name, one in space.items()}}},
            custom_explore_fn=lambda config: {CONFIG: _inside(config[CONFIG], space)},
            log_config=False,
            synch=True,  # else those that run first are compared with each other alone, and the others come too late
        )

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Learn which of ours it is: its configuration is overwritten by another's later, and it may come again."""
        self._numbers.setdefault(trial.trial_id, trial.config[CONFIG]["number"])
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Write a report down, and compare the trial with the others; not after its last epoch."""
        number = self._numbers[trial.trial_id]
        if result.get("ended"):
            self._board.end(number, result["ended"], result["why"])
            return str(STOP)
        if self._board.report(number, result, checkpoint_path(trial, result), stop=False).has_ended:
            return str(STOP)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """It came to its end by itself."""
        self._board.complete(self._numbers[trial.trial_id])
        super().on_trial_complete(tune_controller, trial, result)

    def failed(self, trial: Any) -> None:
        """Its process died more often than it may."""
        self._board.end(self._numbers[trial.trial_id], FAILED, last_words(trial))

    def _exploit(self, tune_controller: Any, trial: Any, trial_to_clone: Any) -> None:
        super()._exploit(tune_controller, trial, trial_to_clone)
        number, donor = (self._numbers[one.trial_id] for one in (trial, trial_to_clone))
        source = self._trial_state[trial_to_clone].last_checkpoint
        self._board.take(number, donor, trial.config[CONFIG]["settings"], getattr(source, "path", ""))


class Failures(Unsaved, Callback):  # type: ignore[misc]
    """Tells a scheduler which trials Ray gave up: of these it hears what it hears of those that begin again."""

    def __init__(self, scheduler: Watched | Population) -> None:
        super().__init__()
        self._scheduler = scheduler

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """Called by Ray when no further try is left."""
        self._scheduler.failed(trial)


def scheduler_of(search: SearchConfig, board: Board, objective: Objective, epochs: int) -> Watched | Population:
    """The scheduler that search.scheduler names."""
    if search.scheduler == "pbt":
        return Population(board, epochs, search, objective.mode)
    grace = min(search.grace_epochs, epochs)
    common = {"time_attr": TIME, "metric": "score", "mode": objective.mode, "grace_period": grace}
    judge = None
    if search.scheduler == "asha":
        judge = ASHAScheduler(max_t=epochs, reduction_factor=search.reduction, **common)
    elif search.scheduler == "median":
        judge = MedianStoppingRule(**common)
    return Watched(board, epochs, judge)


def checkpoint_path(trial: Any, result: Mapping[str, Any]) -> str:
    """Where the report's checkpoint lies: it is there before the report is, and its predecessor goes after it."""
    name = result.get("checkpoint_dir_name")
    return f"{trial.storage.trial_fs_path}/{name}" if name else ""


def last_words(trial: Any) -> str:
    """The last line of what killed a trial."""
    lines = [line.strip() for line in str(trial.get_error() or "").splitlines() if line.strip()]
    return lines[-1] if lines else "its process died"


def _domain(parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        return list(parameter.values)
    low, high = parameter.values
    if parameter.kind == "int":
        return ray.tune.randint(low, high + 1)
    return (ray.tune.loguniform if parameter.kind == "loguniform" else ray.tune.uniform)(low, high)


def _inside(config: Mapping[str, Any], space: Mapping[str, Parameter]) -> dict[str, Any]:
    """The same with each changed setting held between its bounds: Ray multiplies them by 0.8 or 1.2."""
    found = dict(config["settings"])
    for name, parameter in space.items():
        if parameter.is_number and math.isfinite(found[name]):
            found[name] = min(max(found[name], parameter.values[0]), parameter.values[1])
    return {**config, "settings": found}
