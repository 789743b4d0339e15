"""Hands trials to Ray Tune: first those that a kill cut off, then new ones; the thinking is the proposer's."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from .board import Board, config_of
from .proposer import Proposer


class BoardSearcher(Searcher):  # type: ignore[misc]
    """A searcher whose memory is the board; Ray's own snapshots of it hold nothing."""

    def __init__(self, board: Board, proposer: Proposer, trials: int, metric: str, mode: str) -> None:
        super().__init__(metric=metric, mode=mode)
        self._board, self._proposer = board, proposer
        self._again = [trial.number for trial in board.unfinished()]
        self._left = range(len(board.trials), trials)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # noqa: ARG002
        """The next trial, or the word that there is none."""
        if self._again:
            return config_of(self._board, self._again.pop(0))
        settings = self._proposer.ask(self._left[0]) if self._left else None
        if settings is None:
            return str(Searcher.FINISHED)
        number, self._left = self._left[0], self._left[1:]
        self._board.start(number, settings)
        return config_of(self._board, number)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The board was told before, by the scheduler."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles it into its own snapshot, which nobody reads

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the manifest has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a search goes on from its manifest."""
