"""Progress is one live line on a terminal and plain lines elsewhere; it goes through a job's output unharmed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rayloop.jobs.progress import ProgressLine, clock_left
from rayloop.jobs.report import LINE_SIGN, PROGRESS_SIGN, Progress, parse_line, parse_progress, readable, say_progress
from rich.console import Console

HALF = Progress(2, 4, 7.4, {"train_loss": 0.25, "validation_accuracy": 0.5})


def lines(*shown: Progress, **options: Any) -> str:
    out = io.StringIO()
    with ProgressLine(Console(file=out, width=120, highlight=False, **options)) as line:
        line.say("training on 1 CPU worker(s)")
        for progress in shown:
            line.show(progress)
    return out.getvalue()


def test_without_a_terminal_each_epoch_is_a_plain_line() -> None:
    assert lines(HALF, Progress(4, 4, 0.0, {"train_loss": 0.125})).splitlines() == [
        "training on 1 CPU worker(s)",
        "epoch 2 of 4, 7 s left: train_loss 0.2500, validation_accuracy 0.5000",
        "epoch 4 of 4: train_loss 0.1250",
    ]


def test_on_a_terminal_the_line_is_live_and_the_last_epoch_stays() -> None:
    shown = lines(HALF, Progress(4, 4, None, {"train_loss": 0.125}), force_terminal=True)
    assert "0:07 left" in shown
    assert "\x1b[?25l" in shown  # the cursor is hidden while the line is live
    assert shown.rstrip().endswith("epoch 4 of 4: train_loss 0.1250")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_a_terminal_is_left_clean_by_an_error() -> None:
    out = io.StringIO()
    line = ProgressLine(Console(file=out, force_terminal=True))
    line.show(HALF)
    line.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (7, "0:07"), (59.6, "1:00"), (760, "12:40"), (3600, "1 h 00"), (11_110, "3 h 05")],
)
def test_a_time_is_short(seconds: float, text: str) -> None:
    assert clock_left(seconds) == text


def test_what_is_said_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    say_progress(HALF)
    (line,) = capsys.readouterr().out.splitlines()
    assert parse_progress(line) == HALF
    assert parse_line(line) is None
    coloured = f"\x1b[36m(TrainController pid=12)\x1b[0m {line}\x1b[32m"
    assert parse_progress(coloured) == HALF
    assert readable(coloured) == f"\x1b[36m(TrainController pid=12)\x1b[0m {LINE_SIGN}{HALF}"


@pytest.mark.parametrize(
    "line", ["", "anything", f"{LINE_SIGN}epoch 1", f"{PROGRESS_SIGN}no json", f"{PROGRESS_SIGN}[1]"]
)
def test_any_other_line_is_no_progress(line: str) -> None:
    assert parse_progress(line) is None
    assert readable(line) == line
