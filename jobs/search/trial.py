"""One trial as a value: its settings, what it reported epoch by epoch, and how it ended; it knows no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

RUNNING = "running"
FINISHED = "finished"
STOPPED = "stopped"
DIVERGED = "diverged"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """What a trial said after an epoch; `kept` are the metrics of its best epoch so far, whose weights it keeps."""

    epoch: int
    order: int
    """Which report of the whole search it was: schedulers decide by what they saw before."""
    score: float
    """The first objective at the best epoch so far."""
    metrics: Mapping[str, float]
    kept: Mapping[str, float]
    cpu_seconds: float
    gpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """When a trial of a population went on from the weights of another, and with which settings."""

    epoch: int
    trial: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """One try of some settings."""

    number: int
    settings: Mapping[str, Any]
    outcome: str = RUNNING
    why: str = ""
    checkpoint: str = ""
    """Path of the newest checkpoint in the store's file system; empty before the first."""
    reports: tuple[Report, ...] = ()
    taken: tuple[Taken, ...] = field(default=())

    @property
    def has_ended(self) -> bool:
        """True where it never runs again."""
        return self.outcome != RUNNING

    @property
    def has_score(self) -> bool:
        """True where it ended with weights worth keeping."""
        return self.outcome in {FINISHED, STOPPED} and bool(self.reports) and math.isfinite(self.score)

    @property
    def score(self) -> float:
        """The first objective at its best epoch; nan before the first report."""
        return self.reports[-1].score if self.reports else math.nan

    @property
    def epochs(self) -> int:
        """How many epochs were run for it."""
        return len(self.reports)

    def cost(self, name: str) -> float:
        """Sum of cpu_seconds, gpu_seconds or wall_seconds."""
        return math.fsum(getattr(report, name) for report in self.reports)

    def with_report(self, report: Report, checkpoint: str, outcome: str = RUNNING) -> Trial:
        """The same, one epoch later."""
        return replace(self, reports=(*self.reports, report), checkpoint=checkpoint, outcome=outcome)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no nan: it becomes null."""
        return _without_nan(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Trial:
        """The trial that `to_dict` wrote."""
        values = dict(found)
        values["reports"] = tuple(Report(**_with_nan(report)) for report in values["reports"])
        values["taken"] = tuple(Taken(**taken) for taken in values["taken"])
        return cls(**values)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(report: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(report)
    if found["score"] is None:
        found["score"] = math.nan
    for name in ("metrics", "kept"):
        found[name] = {key: math.nan if value is None else value for key, value in found[name].items()}
    return found
