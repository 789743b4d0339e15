"""The board writes each change down before it counts, tells who ended, and knows where a trial goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs.search.board import Board
from rayloop.jobs.search.manifest import Manifest
from rayloop.jobs.search.trial import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED, Trial


@pytest.fixture
def ended() -> list[Trial]:
    return []


@pytest.fixture
def board(manifest: Manifest, ended: list[Trial]) -> Board:
    return Board(manifest, [], 3, ended.append)


def test_what_is_on_the_board_is_in_the_manifest(board: Board, manifest: Manifest, make_result: Any) -> None:
    board.start(0, {"learning_rate": 0.1})
    assert manifest.trials() == board.trials
    board.report(0, make_result(1, 0.7), "/c1", stop=False)
    assert manifest.trials() == board.trials
    (trial,) = board.trials
    assert (trial.outcome, trial.epochs, trial.score, trial.checkpoint) == (RUNNING, 1, 0.7, "/c1")
    assert trial.reports[0].metrics == {"train_loss": 0.5}


@pytest.mark.parametrize(("epoch", "stop", "outcome"), [(2, False, RUNNING), (2, True, STOPPED), (3, True, FINISHED)])
def test_a_report_ends_a_trial_at_its_last_epoch_or_where_it_is_stopped(
    board: Board, ended: list[Trial], make_result: Any, epoch: int, stop: bool, outcome: str
) -> None:
    board.start(0, {})
    assert board.report(0, make_result(epoch, 0.7), "/c", stop=stop).outcome == outcome
    assert [trial.outcome for trial in ended] == ([] if outcome == RUNNING else [outcome])


def test_who_has_ended_stays_so(board: Board, ended: list[Trial]) -> None:
    board.start(0, {})
    board.end(0, DIVERGED, "the loss is NaN")
    board.end(0, FAILED, "another")
    board.complete(0)
    assert [(trial.outcome, trial.why) for trial in ended] == [(DIVERGED, "the loss is NaN")]


def test_a_process_that_ends_without_a_report_has_failed(board: Board) -> None:
    board.start(0, {})
    board.complete(0)
    assert (board[0].outcome, board[0].why) == (FAILED, "it ended without a report")


def test_reports_are_numbered_over_the_whole_search_also_after_a_restart(
    manifest: Manifest, board: Board, make_result: Any
) -> None:
    for number in (0, 1):
        board.start(number, {})
    for number in (1, 0, 1):
        board.report(number, make_result(1, 0.5), "", stop=False)
    again = Board(manifest, manifest.trials(), 3, lambda trial: None)
    again.report(0, make_result(2, 0.6), "", stop=False)
    assert [[report.order for report in trial.reports] for trial in again.trials] == [[2, 4], [1, 3]]
    assert [trial.number for trial in again.unfinished()] == [0, 1]


def test_a_trial_goes_on_from_what_is_still_there(board: Board, make_result: Any, tmp_path: Path) -> None:
    own, donors = tmp_path / "own", tmp_path / "donors"
    for number, folder in enumerate((own, donors)):
        folder.mkdir()
        board.start(number, {"learning_rate": 0.1})
        board.report(number, make_result(1, 0.5), str(folder), stop=False)
    assert board.checkpoint(0) == str(own)
    board.take(0, 1, {"learning_rate": 0.2}, str(tmp_path / "gone"))
    assert board[0].settings == {"learning_rate": 0.2}
    assert [(taken.trial, taken.epoch) for taken in board[0].taken] == [(1, 1)]
    assert board.checkpoint(0) == str(donors)
    donors.rmdir()
    assert board.checkpoint(0) == ""
