"""Measures how soon a training takes its first step on a warm cluster: after fit() begins, and after the command."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import claims
import report
from claims import Claim
from processes import clean_environment
from project import CommandFailed, _end, _rayloop, _write_table, project_file
from rayloop.cluster import free_port
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace

FIT_GOAL_S, COMMAND_GOAL_S = 4.0, 8.0
FIRST_STEP = re.compile(r"first step ([0-9.]+) s after the start")


def measure(rounds: int, say: report.Say) -> list[Claim]:
    """Train several times; the first, which also makes the snapshot, is the warm-up."""
    home = Path(tempfile.mkdtemp(prefix="rl-"))
    ports = {f"RAYLOOP_{part}_PORT": str(free_port()) for part in ("EDGE", "MLFLOW", "DASHBOARD", "SERVE")}
    environment = clean_environment(**ports, RAYLOOP_HOME=str(home / ".rayloop"))
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    by_fit, by_command = [], []
    try:
        _write_table(home / "data.parquet")
        (home / "rayloop.yaml").write_text(project_file("started", home / "data.parquet"))
        _rayloop(home, environment, "up")
        for number in range(rounds + 1):
            of_fit, of_command = _first_step(home, environment)
            say(f"first step {of_fit:.1f} s after fit(), {of_command:.1f} s after the command")
            if number:
                by_fit.append(of_fit)
                by_command.append(of_command)
    finally:
        _end(Settings.load(environment), home, environment)
        shutil.rmtree(home, ignore_errors=True)
    return [
        claims.at_most("fit() to the first step", round(statistics.median(by_fit), 2), FIT_GOAL_S, "s"),
        claims.at_most(
            "`rayloop train` to the first step", round(statistics.median(by_command), 2), COMMAND_GOAL_S, "s"
        ),
    ]


def _first_step(home: Path, environment: dict[str, str]) -> tuple[float, float]:
    began_s = time.time()
    command = [sys.executable, "-m", "rayloop.cli", "train"]
    job = subprocess.Popen(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert job.stdout is not None
    said = job.stdout.read()
    told = FIRST_STEP.search(said)
    if job.wait() != 0 or told is None:
        raise CommandFailed(said[-1500:])
    # Ray hands a job's lines on once a second, so the worker's own note of the moment counts.
    runs = Workspace(Settings.load(environment)).runs
    newest = max(runs.all(), key=lambda run: run.began_s)
    witness = json.loads(runs.text(newest.key, "witness.json"))
    return float(told.group(1)), float(witness["starts"][0]["first_step_s"]) - began_s
