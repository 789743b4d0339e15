"""How a job speaks: lines for a person, progress, one result for the caller, one sentence when it fails on purpose."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..cluster.cluster import ERROR_SIGN
from ..platform.errors import RayloopError

LINE_SIGN = "[rayloop] "
PROGRESS_SIGN = "[rayloop:progress] "
RESULT_SIGN = "[rayloop:result] "


def say(text: str) -> None:
    """One line of progress."""
    _write(LINE_SIGN + text)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is: epochs, seconds left where they can be told, and the metrics of the last epoch."""

    epoch: int
    epochs: int
    left_s: float | None
    metrics: Mapping[str, float]

    def __str__(self) -> str:
        left = "" if self.left_s is None or self.epoch >= self.epochs else f", {self.left_s:.0f} s left"
        shown = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"epoch {self.epoch} of {self.epochs}{left}: {shown}"


def say_progress(progress: Progress) -> None:
    """One line that a terminal turns into a bar, and everything else into a sentence."""
    _write(PROGRESS_SIGN + json.dumps(asdict(progress)))


def run_job(work: Callable[[], Mapping[str, Any]]) -> None:
    """Run a job's work, print its result, and end the process; an error of ours is one sentence, no traceback."""
    try:
        result = work()
    except RayloopError as error:
        _write(ERROR_SIGN + str(error))
        # Ray's threads can hold a failing driver for seconds; everything durable is written by now.
        os._exit(error.exit_code)
    _write(RESULT_SIGN + json.dumps(result))


def _write(line: str) -> None:
    """Not by `print`: in its workers Ray Train puts another one in its place, which says everything twice."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def parse_result(line: str) -> dict[str, Any] | None:
    """The result in a line of a job's output, or None."""
    if not line.startswith(RESULT_SIGN):
        return None
    result: dict[str, Any] = json.loads(line.removeprefix(RESULT_SIGN))
    return result


def parse_progress(line: str) -> Progress | None:
    """The progress in a line of a job's output, or None."""
    _, found, text = line.partition(PROGRESS_SIGN)
    if not found:
        return None
    try:
        values, _ = json.JSONDecoder().raw_decode(text)  # Ray may colour the end of a line
        return Progress(**values)
    except (ValueError, TypeError):
        return None


def readable(line: str) -> str:
    """A line of a job's output as a person reads it: progress as a sentence, all else as it is."""
    progress = parse_progress(line)
    if progress is None:
        return line
    return line.partition(PROGRESS_SIGN)[0] + LINE_SIGN + str(progress)


def parse_line(line: str) -> str | None:
    """What a person should see of a line of a job's output, or None."""
    # A line of a worker comes with the name of its process before it.
    _, found, text = line.partition(LINE_SIGN)
    return text if found else None
