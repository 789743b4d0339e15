"""A training's progress for a person: one live line on a terminal, a line an epoch everywhere else."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from .report import Progress


class ProgressLine:
    """Says lines and shows progress; the live line is gone when the training has ended."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False)
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """How far the training is now."""
        if not self._console.is_terminal:
            self.say(str(progress))
            return
        if self._bar is None or self._task is None:
            columns = (
                TextColumn("epoch {task.completed:.0f} of {task.total:.0f}"),
                BarColumn(24),
                TextColumn("{task.description}"),
            )
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=progress.epochs)
        self._bar.update(self._task, completed=progress.epoch, description=describe(progress))
        self._bar.start()  # after its first update, or it would show an empty one; a second start does nothing
        if progress.epoch >= progress.epochs:
            self._bar.stop()
            self.say(str(progress))
            self._bar = None


def describe(progress: Progress) -> str:
    """Time left and metrics, as the live line has room for."""
    left = "" if progress.left_s is None else f"{clock_left(progress.left_s)} left  "
    return left + "  ".join(f"{name} {value:.4f}" for name, value in progress.metrics.items())


def clock_left(seconds: float) -> str:
    """A time as minutes and seconds, or hours and minutes: 0:07, 12:40, 3 h 05."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}"
