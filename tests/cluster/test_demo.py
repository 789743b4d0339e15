"""The demo as a user runs it, on ports of its own: it ends well, says what it must, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rayloop.cluster import free_port

pytestmark = pytest.mark.cluster

SECONDS_ALLOWED = 240


def test_the_demo_closes_the_loop(tmp_path: Path) -> None:
    ports = {f"RAYLOOP_{name}_PORT": str(free_port()) for name in ("EDGE", "MLFLOW", "DASHBOARD", "SERVE")}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAYLOOP_", "MLFLOW_", "RAY_"))}
    sessions = {os.getsid(process.pid) for process in psutil.process_iter()}
    began_s = time.monotonic()
    command = [sys.executable, "-m", "rayloop.cli", "demo", "--exit", "--folder", str(tmp_path / "demo")]
    environment = {**kept, **ports, "COLUMNS": "160"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    wall_s = time.monotonic() - began_s
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert wall_s <= SECONDS_ALLOWED
    accuracy = {
        what: float(re.search(rf"{what} +([0-9.]+)", printed)[1])
        for what in ("before the change", "under it", "after retraining")
    }
    assert accuracy["before the change"] - accuracy["under it"] >= 0.15
    assert abs(accuracy["after retraining"] - accuracy["before the change"]) <= 0.02
    assert "2000 requests, 0 failed" in printed
    assert "promoted; meanwhile answered" in printed
    assert "; failed: 0" in printed
    for name in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(name))) != 0
    # Whatever Ray or HAProxy process lives now belongs to a session that was there before the demo.
    assert [process for process in _servers() if os.getsid(process.pid) not in sessions] == []


def _servers() -> list[psutil.Process]:
    """Living processes of Ray, HAProxy and MLflow, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = f"{process.name()} {' '.join(process.cmdline()[:4])}"
            if process.status() != psutil.STATUS_ZOMBIE and re.search(r"ray::|raylet|gcs_server|haproxy|mlflow", words):
                found.append(process)
        except psutil.Error:
            continue
    return found
