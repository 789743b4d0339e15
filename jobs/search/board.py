"""The state of a running search: its trials and what became of them; each change is written down at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .manifest import Manifest
from .trial import FAILED, FINISHED, RUNNING, STOPPED, Report, Taken, Trial

CONFIG = "trial"  # the one key of what Ray gives a trial's function
COST_NAMES = ("cpu_seconds", "gpu_seconds", "wall_seconds")


class Board:
    """Every trial of one search, by number; `ended` is called with each that ends."""

    def __init__(self, manifest: Manifest, known: Iterable[Trial], epochs: int, ended: Callable[[Trial], None]) -> None:
        self._manifest = manifest
        self._epochs = epochs
        self._ended = ended
        self._trials = {trial.number: trial for trial in known}
        self._next_order = 1 + max((r.order for t in self._trials.values() for r in t.reports), default=0)

    @property
    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return [self._trials[number] for number in sorted(self._trials)]

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def unfinished(self) -> list[Trial]:
        """Those that have not ended, by number."""
        return [trial for trial in self.trials if not trial.has_ended]

    def checkpoint(self, number: int) -> str:
        """Where a trial goes on: its own newest checkpoint, or the one that it took last; empty for the beginning."""
        trial = self._trials[number]
        others = [self._trials[trial.taken[-1].trial].checkpoint] if trial.taken else []
        return next((path for path in [trial.checkpoint, *others] if self._manifest.has(path)), "")

    def start(self, number: int, settings: Mapping[str, Any]) -> None:
        """A new trial."""
        self._set(Trial(number, dict(settings)))

    def report(self, number: int, result: Mapping[str, Any], checkpoint: str, *, stop: bool) -> Trial:
        """An epoch of a trial; at its last one, or where `stop` is true, it has ended with it."""
        trial = self._trials[number]
        costs = {name: float(result[name]) for name in COST_NAMES}
        metrics, kept = _below(result, "metrics/"), _below(result, "kept/")
        report = Report(int(result["epoch"]), self._next_order, float(result["score"]), metrics, kept, **costs)
        self._next_order += 1
        outcome = FINISHED if report.epoch >= self._epochs else (STOPPED if stop else RUNNING)
        return self._set(trial.with_report(report, checkpoint or trial.checkpoint, outcome))

    def end(self, number: int, outcome: str, why: str = "") -> None:
        """A trial ended otherwise than by a report; one that has ended already stays as it is."""
        trial = self._trials[number]
        if not trial.has_ended:
            self._set(replace(trial, outcome=outcome, why=why))

    def complete(self, number: int) -> None:
        """A trial's process came to its end by itself."""
        has_report = bool(self._trials[number].reports)
        self.end(number, FINISHED if has_report else FAILED, "" if has_report else "it ended without a report")

    def take(self, number: int, donor: int, settings: Mapping[str, Any], checkpoint: str) -> None:
        """A trial goes on from another's weights, with new settings."""
        trial = self._trials[number]
        epoch = self._trials[donor].reports[-1].epoch
        taken = Taken(epoch, donor, dict(settings))
        self._set(replace(trial, settings=dict(settings), checkpoint=checkpoint, taken=(*trial.taken, taken)))

    def _set(self, trial: Trial) -> Trial:
        self._manifest.save(trial)
        self._trials[trial.number] = trial
        if trial.has_ended:
            self._ended(trial)
        return trial


def config_of(board: Board, number: int) -> dict[str, Any]:
    """What a trial's function is given."""
    found = {"number": number, "settings": dict(board[number].settings), "checkpoint": board.checkpoint(number)}
    return {CONFIG: found}


def _below(result: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found = {name.removeprefix(prefix): value for name, value in result.items() if name.startswith(prefix)}
    return {name: math.nan if value is None else float(value) for name, value in found.items()}
