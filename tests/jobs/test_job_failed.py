"""A job that fails hands its sentence and its exit code to whoever waits for it."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from rayloop.cluster import Cluster, JobFailed
from rayloop.cluster.cluster import ERROR_SIGN, _follow
from rayloop.platform.settings import Settings


class Told(Cluster):
    """A cluster with one job, which ended as it is told."""

    def __init__(self, home: Path, found: dict[str, Any], lines: list[str]) -> None:
        super().__init__(Settings.load({}, home=home))
        self._found, self._lines = found, lines

    def _get(self, path: str, missing: str | None = None) -> Any:
        assert path == "/api/jobs/j"
        return self._found

    def logs(self, job: str, *, follow: bool = False) -> Iterator[str]:
        yield from self._lines


SENTENCE = "train.batch_size is 1000, but there are 140 rows to train on: lower it"


@pytest.mark.parametrize(
    ("found", "lines", "sentence", "code"),
    [
        ({"status": "FAILED", "driver_exit_code": 2}, ["working", ERROR_SIGN + SENTENCE], SENTENCE, 2),
        ({"status": "FAILED", "driver_exit_code": None}, [ERROR_SIGN + SENTENCE], SENTENCE, 1),
        ({"status": "FAILED", "driver_exit_code": 139}, ["Segmentation fault"], "job j ended as failed: `rayloop", 1),
        ({"status": "STOPPED"}, [], "job j ended as stopped: `rayloop logs j` says more", 1),
    ],
)
def test_a_job_fails_as_it_said(
    own_home: Path, found: dict[str, Any], lines: list[str], sentence: str, code: int
) -> None:
    with pytest.raises(JobFailed) as caught:
        Told(own_home, found, lines).wait("j")
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert str(error).startswith(sentence)
        assert error.exit_code == code


def test_a_job_that_did_well_is_no_error(own_home: Path) -> None:
    Told(own_home, {"status": "SUCCEEDED", "driver_exit_code": 0}, []).wait("j")


class Stream:
    """Ray's client of a job that says something, and then nothing for long."""

    def __init__(self) -> None:
        self.is_closed = False

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        try:
            yield "one\ntwo\nth"
            await asyncio.sleep(600)
        finally:
            self.is_closed = True


def test_ctrl_c_while_nothing_comes_is_what_it_is_and_closes_the_connection() -> None:
    stream = Stream()
    lines: list[str] = []
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            lines.extend(_follow(stream, "j"))
    finally:
        timer.join()
    assert (lines, stream.is_closed) == (["one", "two"], True)


def test_a_reader_may_stop_early() -> None:
    stream = Stream()
    lines = _follow(stream, "j")
    assert next(lines) == "one"
    lines.close()  # type: ignore[attr-defined]
    assert stream.is_closed
