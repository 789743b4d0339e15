"""The `search` section of the project file: what is searched, how, for how long, and what counts as good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import BrokenRule, Section
from .space import Parameter, check_space, grid

COSTS = ("cpu_seconds", "gpu_seconds", "wall_seconds")
PERTURBED = ("learning_rate", "weight_decay", "batch_size")


class SearchConfig(Section):
    """Which settings are searched, and how long."""

    trials: Annotated[int, Field(ge=1)] = 8
    concurrent: Annotated[int, Field(ge=1)] = 2
    """Most trials at a time; fewer where the cluster has no room for them."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Most epochs of one trial; default train.epochs."""
    searcher: Literal["tpe", "cma-es", "random", "grid"] = "tpe"
    """What proposes settings: Optuna's TPE or CMA-ES, chance, or every point of a grid."""
    scheduler: Literal["asha", "median", "pbt", "none"] = "asha"
    """What stops weak trials: ASHA, the median of the others, or nothing; pbt lets them go on from better ones."""
    grace_epochs: Annotated[int, Field(ge=1)] = 3
    """asha and median stop no trial before this many epochs."""
    reduction: Annotated[int, Field(ge=2)] = 4
    """asha lets one in this many go on at each rung."""
    perturb: tuple[str, ...] = ()
    """pbt: settings that change when a trial goes on from a better one; default those of learning_rate,
    weight_decay and batch_size that are in the space."""
    perturb_epochs: Annotated[int, Field(ge=1)] = 2
    """pbt: trials are compared each time after this many epochs."""
    objectives: tuple[str, ...] = ()
    """What is optimized, the most important first: a metric, then more metrics, cpu_seconds, gpu_seconds or
    wall_seconds; default validate.metric alone."""
    tolerance: Annotated[float, Field(ge=0)] = 0
    """With several objectives: how much worse than the best, in the first metric's own unit, the winner may be for
    the sake of the others."""
    warm_start: bool = False
    """True tells the searcher what earlier searches of this project found."""
    gpus_per_trial: Annotated[float, Field(gt=0)] | None = None
    """GPUs of one trial: a fraction below 1, such as 0.25, shares one; above 1 a whole number, one worker each."""
    space: dict[str, Parameter] = {}
    """For each of learning_rate, weight_decay, batch_size or a task parameter: one of choice, uniform,
    loguniform, int with its values or its two bounds; `when` names the values of others beside which it exists."""

    @model_validator(mode="after")
    def _space_is_sound(self) -> SearchConfig:
        check_space(self.space)
        if self.searcher == "grid":
            self._check_grid()
        if self.searcher == "cma-es":
            self._check_cma_es()
        if self.warm_start and self.searcher in {"random", "grid"}:
            raise BrokenRule(f"true is of no use to search.searcher {self.searcher}: it learns nothing", "warm_start")
        return self

    @model_validator(mode="after")
    def _population_is_sound(self) -> SearchConfig:
        if self.scheduler != "pbt":
            if self.perturb:
                raise BrokenRule("needs search.scheduler pbt", "perturb")
            return self
        if self.trials < 2:
            raise BrokenRule("pbt needs at least 2 trials, which learn from each other", "trials")
        for name in self.perturb:
            if name not in self.space:
                raise BrokenRule(f"{name!r} is not a parameter of search.space", "perturb")
            if self.space[name].when:
                raise BrokenRule(f"{name!r} has a condition: it may be missing in a trial", "perturb")
        if not self.perturbed:
            raise BrokenRule(
                f"pbt needs a setting to change: put one of {', '.join(PERTURBED)} into the space, or name others",
                "perturb",
            )
        return self

    @model_validator(mode="after")
    def _gpus_are_sound(self) -> SearchConfig:
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise BrokenRule(f"{self.gpus_per_trial:g} must be a whole number, or a fraction below 1", "gpus_per_trial")
        return self

    @property
    def perturbed(self) -> tuple[str, ...]:
        """The settings that pbt changes."""
        free = (name for name in PERTURBED if name in self.space and not self.space[name].when)
        return self.perturb or tuple(free)

    def check_beside(self, metrics: Sequence[str], *, gpu: bool) -> None:
        """Raise BrokenRule where objectives or GPUs don't fit the rest of the project."""
        for place, name in enumerate(self.objectives):
            known = (*metrics, *COSTS) if place else tuple(metrics)
            if name not in known:
                raise BrokenRule(
                    f"{name!r} can't be {'an' if place else 'the first'} objective: {', '.join(known)}",
                    "search",
                    "objectives",
                    place,
                )
            if name == "gpu_seconds" and not gpu:
                raise BrokenRule(
                    "'gpu_seconds' is 0 without train.gpu: name cpu_seconds", "search", "objectives", place
                )
        if len(set(self.objectives)) < len(self.objectives):
            raise BrokenRule("must not name one twice", "search", "objectives")
        if self.searcher == "cma-es" and len(self.objectives) > 1:
            raise BrokenRule("cma-es has one objective: take tpe for several", "search", "searcher")
        if self.gpus_per_trial is not None and not gpu:
            raise BrokenRule("needs train.gpu: true", "search", "gpus_per_trial")

    def _check_grid(self) -> None:
        for name, parameter in self.space.items():
            if parameter.kind not in {"choice", "int"}:
                raise BrokenRule(f"{parameter.kind} has no end of values: a grid needs choice or int", "space", name)
        if len(list(islice(grid(self.space), self.trials + 1))) > self.trials:
            raise BrokenRule(f"{self.trials} is less than the grid has points: raise it, or narrow the space", "trials")

    def _check_cma_es(self) -> None:
        numbers = [name for name, parameter in self.space.items() if parameter.is_number and not parameter.when]
        if self.space and len(numbers) < 2:
            raise BrokenRule(
                f"cma-es needs two ranges of numbers without a condition, and the space has {len(numbers)}: take tpe",
                "searcher",
            )
