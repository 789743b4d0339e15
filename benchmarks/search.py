"""Measures what ASHA saves on the Adult census data: the same 32 settings with it, and all of them to the end.

Usage: python benchmarks/search.py --data adult.parquet [--quick] [--json FILE] [--markdown FILE]

Settings are drawn by chance from one seed, so both searches try the same ones; the two run one after the other on a
rayloop of their own. What is compared is epochs, which no other load on the machine changes, and the best validation
AUC. Trials train alike whatever stops them, so where both ran an epoch its numbers must be the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import claims
import click
import report
from claims import Claim
from processes import clean_environment, hold_interrupts
from project import CommandFailed
from rayloop.cluster import LocalCluster, free_port
from rayloop.jobs.search.manifest import Manifest
from rayloop.jobs.search.trial import STOPPED, Trial
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace

EPOCHS_GOAL_PERCENT = 40.0
AUC_GOAL = 0.002
TIMEOUT_S = 3600
HEADER = ("search", "trials", "stopped", "epochs", "share %", "best AUC", "CPU s", "wall s")

PROJECT = """\
name: adult
data: {{source: {data}, target: income, ignore: [split]}}
task: {{params: {{hidden: [64, 32]}}}}
train: {{batch_size: 256, seed: 7}}
validate: {{metric: auc}}
search:
  trials: {trials}
  concurrent: 2
  epochs: {epochs}
  searcher: random
  scheduler: {scheduler}
  grace_epochs: 1
  reduction: 4
  space:
    learning_rate: {{loguniform: [0.0001, 0.1]}}
    weight_decay: {{loguniform: [0.000001, 0.01]}}
    dropout: {{uniform: [0.0, 0.5]}}
    hidden: {{choice: [[32], [64, 32], [128, 64]]}}
"""


@dataclass(frozen=True, slots=True)
class Done:
    """A search that is over."""

    scheduler: str
    trials: Sequence[Trial]
    wall_s: float

    @property
    def epochs(self) -> int:
        """All epochs that were run."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def best(self) -> float:
        """The best validation AUC."""
        return max(trial.score for trial in self.trials if trial.has_score)

    def cells(self, all_epochs: int) -> tuple[str, ...]:
        """A line under HEADER."""
        stopped = sum(trial.outcome == STOPPED for trial in self.trials)
        cpu_s = sum(trial.cost("cpu_seconds") for trial in self.trials)
        counts = (str(len(self.trials)), str(stopped), str(self.epochs), f"{100 * self.epochs / all_epochs:.1f}")
        return (self.scheduler, *counts, f"{self.best:.4f}", f"{cpu_s:,.0f}", f"{self.wall_s:,.0f}")


def compare(asha: Done, whole: Done) -> list[Claim]:
    """What is held to be true of the two. Raises CommandFailed where they did not try the same."""
    if [trial.settings for trial in asha.trials] != [trial.settings for trial in whole.trials]:
        raise CommandFailed("the two searches tried different settings")
    pairs = [
        (mine.score, theirs.score)
        for trial, other in zip(asha.trials, whole.trials, strict=True)
        for mine, theirs in zip(trial.reports, other.reports, strict=False)
    ]
    different = sum(mine != theirs for mine, theirs in pairs)
    share = round(100 * asha.epochs / whole.epochs, 1)
    return [
        claims.at_most("epochs with ASHA, of all trials to the end", share, EPOCHS_GOAL_PERCENT, "%"),
        claims.at_most("validation AUC lost by it", round(whole.best - asha.best, 5), AUC_GOAL, ""),
        claims.at_most(f"epochs with other numbers, of {len(pairs)} that both ran", different, 0, ""),
    ]


@contextmanager
def running(home: Path) -> Iterator[dict[str, str]]:
    """A rayloop of its own, on free ports; ended in any case."""
    ports = {f"RAYLOOP_{part}_PORT": str(free_port()) for part in ("EDGE", "MLFLOW", "DASHBOARD", "SERVE")}
    environment = clean_environment(**ports, RAYLOOP_HOME=str(home / ".rayloop"))
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    if "PYTHONPATH" in os.environ:  # by which this very rayloop may have been found
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    try:
        command(home, environment, "up")
        yield environment
    finally:
        hold_interrupts()
        cluster = LocalCluster.find(Settings.load(environment))
        if cluster is not None:
            cluster.owner.end_all()
            shutil.rmtree(cluster.temp_folder, ignore_errors=True)


def command(folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    """Run one verb. Raises CommandFailed with what it printed last."""
    line = [sys.executable, "-m", "rayloop.cli", *arguments]
    done = subprocess.run(line, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise CommandFailed(f"rayloop {' '.join(arguments)}: {(done.stdout + done.stderr).strip()[-1500:]}")


def search(home: Path, environment: Mapping[str, str], data: Path, scheduler: str, trials: int, epochs: int) -> Done:
    """One search to its end."""
    text = PROJECT.format(data=data, scheduler=scheduler, trials=trials, epochs=epochs)
    (home / "rayloop.yaml").write_text(text)
    began_s = time.monotonic()
    command(home, environment, "tune", "--key", scheduler)
    wall_s = time.monotonic() - began_s
    workspace = Workspace(Settings.load(environment))
    try:
        return Done(scheduler, Manifest(workspace.store, scheduler).trials(), wall_s)
    finally:
        workspace.close()


@click.command()
@click.option("--data", type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path), required=True)
@click.option("--quick", is_flag=True, help="16 trials of 8 epochs: too few to save as much")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write the claims there")
@click.option("--markdown", type=click.Path(path_type=Path), help="write the tables there")
def main(data: Path, quick: bool, json_file: Path | None, markdown: Path | None) -> None:
    """Measure what ASHA saves; DATA is the Adult data set as one Parquet or CSV file, its target `income`."""
    report.leave_on_sigterm()
    console = report.terminal()
    say = report.teller(console)
    trials, epochs = (16, 8) if quick else (32, 12)
    try:
        with tempfile.TemporaryDirectory(prefix="rl-") as folder, running(Path(folder)) as environment:
            found = []
            for scheduler in ("asha", "none"):
                say(f"{trials} trials of up to {epochs} epochs, scheduler {scheduler}")
                found.append(search(Path(folder), environment, data, scheduler, trials, epochs))
        asha, whole = found
        held = compare(asha, whole)
    except (CommandFailed, subprocess.SubprocessError) as error:
        raise click.ClickException(str(error)) from None
    notes = [
        f"{report.hardware()}.",
        f"{trials} settings drawn by chance from one seed, up to {epochs} epochs each, two at a time; ASHA with "
        "grace_epochs 1 and reduction 4. AUC is that of the validation rows at a trial's best epoch.",
    ]
    report.publish(console, [(HEADER, [done.cells(whole.epochs) for done in found])], held, notes, markdown, json_file)


if __name__ == "__main__":
    main()
