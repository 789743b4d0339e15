"""A job's output is read back: lines for a person, one result, one sentence when it fails on purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rayloop.cluster.cluster import ERROR_SIGN
from rayloop.jobs.report import LINE_SIGN, RESULT_SIGN, parse_line, parse_result, run_job, say


def test_what_is_said_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    say("epoch 1 of 3")
    run_job(lambda: {"version": 3, "metrics": {"accuracy": 0.5}, "none": None})
    first, second = capsys.readouterr().out.splitlines()
    assert (parse_line(first), parse_result(first)) == ("epoch 1 of 3", None)
    assert (parse_line(second), parse_result(second)) == (
        None,
        {"version": 3, "metrics": {"accuracy": 0.5}, "none": None},
    )


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f"{LINE_SIGN}plain", "plain"),
        (f"(TrainController pid=123) {LINE_SIGN}epoch 2", "epoch 2"),
        (f"\x1b[36m(train_worker pid=1, ip=10.0.0.2)\x1b[0m {LINE_SIGN}epoch 2", "epoch 2"),
        (f"{LINE_SIGN}says {LINE_SIGN}twice", f"says {LINE_SIGN}twice"),
        (LINE_SIGN, ""),
        ("INFO something of Ray's", None),
        ("", None),
        (f"{ERROR_SIGN}no", None),
        (f"{RESULT_SIGN}{{}}", None),
    ],
)
def test_a_line_for_a_person_is_known_also_behind_a_process_name(line: str, text: str | None) -> None:
    assert parse_line(line) == text


def test_a_result_is_one_only_at_the_line_s_begin() -> None:
    assert parse_result(f'(Worker pid=1) {RESULT_SIGN}{{"a": 1}}') is None
    assert parse_result("anything else") is None


JOB = """
import threading, time
from rayloop.jobs.report import run_job, say
from rayloop.platform.errors import Conflict, InvalidInput, RayloopError, Unavailable

def work():
    say("begun")
    threading.Thread(target=time.sleep, args=(60,)).start()  # as Ray's threads can hold a driver
    {body}

run_job(work)
"""


def run(body: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", JOB.replace("{body}", body)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("error", "code"), [("RayloopError", 1), ("InvalidInput", 2), ("Conflict", 4), ("Unavailable", 5)]
)
def test_an_error_of_ours_is_one_sentence_and_its_exit_code(error: str, code: int, tmp_path: Path) -> None:
    done = run(f"raise {error}('port 1 is in use')", tmp_path)
    assert done.returncode == code
    assert done.stdout.splitlines() == [f"{LINE_SIGN}begun", f"{ERROR_SIGN}port 1 is in use"]
    assert done.stderr == ""


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    code = JOB.replace("{body}", "assert False, 'never'").replace("args=(60,)", "args=(0,)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AssertionError: never" in done.stderr
    assert RESULT_SIGN not in done.stdout
