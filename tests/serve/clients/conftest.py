"""Client libraries whose pins conflict with ours, each in an environment of its own that is made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / ".clients"
INSTALL_TIMEOUT_S = 600
CALLS_TIMEOUT_S = 120

# Exact, so that a failure is ours and not the news of the day.
PINS: Mapping[str, Sequence[str]] = {
    "kserve": ("kserve==0.21.0",),
    "mlserver": ("mlserver==1.7.1",),
    "schemathesis": ("schemathesis==4.32.5",),
    "triton_grpc": ("tritonclient[grpc]==2.73.0",),  # its protobuf is one major version behind ours
}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def programs_of(name: str) -> Path:
    """The folder of an environment's programs; made if it is not there or was made from other pins."""
    folder = FOLDER / name
    stamp = folder / ".installed"
    wanted = hashlib.sha256("\n".join((sys.version, *PINS[name])).encode()).hexdigest()
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted):
            install([sys.executable, "-m", "venv", "--clear", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
            install([*pip, "install", "--no-input", *PINS[name]])
            stamp.write_text(wanted)
    return folder / "bin"


def install(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def plain_environment() -> dict[str, str]:
    """This process's environment without what would let our packages into another interpreter."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


@pytest.fixture(scope="session")
def run_in() -> Run:
    """Runs a program of a client's environment."""

    def run(name: str, program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [str(programs_of(name) / program), *arguments]
        given = {"timeout": CALLS_TIMEOUT_S, "env": plain_environment(), **options}
        return subprocess.run(command, capture_output=True, text=True, check=False, **given)

    return run


@pytest.fixture(scope="session")
def calls_of(run_in: Run) -> Callable[..., dict[str, Any]]:
    """Runs `<name>_calls.py` in the environment of that name, and gives what each of its calls came to."""

    def calls(name: str, *arguments: str) -> dict[str, Any]:
        done = run_in(name, "python", str(HERE / f"{name}_calls.py"), *arguments)
        assert done.returncode == 0, done.stderr[-2_000:]
        told = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(told, dict)
        return told

    return calls
