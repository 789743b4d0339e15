"""How a job speaks: lines for a person, one result for the caller, one sentence when it fails on purpose."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..cluster.cluster import ERROR_SIGN
from ..platform.errors import RayloopError

LINE_SIGN = "[rayloop] "
RESULT_SIGN = "[rayloop:result] "


def say(text: str) -> None:
    """One line of progress."""
    print(LINE_SIGN + text, flush=True)  # noqa: T201


def run_job(work: Callable[[], Mapping[str, Any]]) -> None:
    """Run a job's work, print its result, and end the process; an error of ours is one sentence, no traceback."""
    try:
        result = work()
    except RayloopError as error:
        print(ERROR_SIGN + str(error), flush=True)  # noqa: T201
        # Ray's threads can hold a failing driver for seconds; everything durable is written by now.
        sys.stdout.flush()
        os._exit(error.exit_code)
    print(RESULT_SIGN + json.dumps(result), flush=True)  # noqa: T201


def parse_result(line: str) -> dict[str, Any] | None:
    """The result in a line of a job's output, or None."""
    if not line.startswith(RESULT_SIGN):
        return None
    result: dict[str, Any] = json.loads(line.removeprefix(RESULT_SIGN))
    return result


def parse_line(line: str) -> str | None:
    """What a person should see of a line of a job's output, or None."""
    # A line of a worker comes with the name of its process before it.
    _, found, text = line.partition(LINE_SIGN)
    return text if found else None
