"""When a session saves, looks round and reports: by steps, by time, by epochs, and in each step of a node's last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.loop import Place, Plan, Training
from rayloop.jobs.training.saving import Saver
from rayloop.jobs.training.session import FIRST_LOOK_STEP, Alone, Session
from rayloop.platform.data import Store
from rayloop.platform.project.training import CheckpointConfig


class Cluster(Alone):
    """Told to end after so many looks; remembers what it was told."""

    def __init__(self, looks: int = 1_000_000) -> None:
        self.looks = looks
        self.reports: list[list[int]] = []

    def is_going_away(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def report(self, lines: list[tuple[int, Mapping[str, float]]]) -> None:
        self.reports.append([epoch for epoch, _ in lines])


class Clock:
    """Moves by so much at each look at it."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class Prompt(Saver):
    """Has written before the next step, however slow the disk is: what is saved then hangs on the rules alone."""

    def save(self, training: Training, *, is_last: bool = False, wait: bool = False) -> None:
        super().save(training, is_last=is_last, wait=True)


def run(toy: Any, folder: Path, rule: Mapping[str, Any], cluster: Cluster, step_s: float) -> list[str]:
    """Train; the names of all checkpoints."""
    place, plan = Place(), Plan.of(toy.project)
    checkpoints = Checkpoints(Store(str(folder)), "checkpoints", keep=100)
    saver = Prompt(checkpoints, place, plan.strategy)
    Session(toy.training(plan), place, saver, CheckpointConfig(**rule), cluster, clock=Clock(step_s)).run(
        toy.rows, toy.rows
    )
    return checkpoints.names()


@pytest.fixture
def toy(make_toy: Any) -> Any:
    """Two epochs of 25 steps."""
    return make_toy.make(200, train={"epochs": 2, "batch_size": 8})


def test_the_end_is_always_saved(toy: Any, tmp_path: Path) -> None:
    assert run(toy, tmp_path, {}, Cluster(), 1e-6) == ["000002-000000000"]


def test_epochs_are_saved_where_they_are_long_enough(toy: Any, tmp_path: Path) -> None:
    assert "000002-000000000" in run(toy, tmp_path, {}, Cluster(), 1.0)


def test_steps_are_saved(toy: Any, tmp_path: Path) -> None:
    wanted = [f"{epoch:06d}-{step:09d}" for epoch in range(2) for step in (10, 20)]
    assert run(toy, tmp_path, {"every_steps": 10}, Cluster(), 1e-6) == [*wanted, "000002-000000000"]


def test_time_is_looked_at_and_saved_by(toy: Any, tmp_path: Path) -> None:
    found = run(toy, tmp_path, {"every_seconds": 5, "every_epochs": 2}, Cluster(), 3.0)
    assert f"000000-{FIRST_LOOK_STEP:09d}" in found
    assert len(found) > 2


def test_a_node_that_goes_away_is_written_for_in_each_step(toy: Any, tmp_path: Path) -> None:
    found = run(toy, tmp_path, {}, Cluster(looks=0), 1e-6)
    assert [name for name in found if name < "000001"] == [f"000000-{step:09d}" for step in range(FIRST_LOOK_STEP, 25)]
    assert len([name for name in found if name.startswith("000001-")]) == 25  # the end of the first among them


def test_epochs_of_one_step_are_looked_at_too(make_toy: Any, tmp_path: Path) -> None:
    toy = make_toy.make(8, train={"epochs": 30, "batch_size": 8})
    cluster = Cluster()
    run(toy, tmp_path, {}, cluster, 0.3)
    assert cluster.looks < 1_000_000 - 2


def test_epochs_are_reported_together_and_all_of_them(make_toy: Any, tmp_path: Path) -> None:
    toy = make_toy.make(40, train={"epochs": 12, "batch_size": 8})
    cluster = Cluster()
    run(toy, tmp_path, {}, cluster, 0.1)
    assert [epoch for report in cluster.reports for epoch in report] == list(range(1, 13))
    assert 1 < len(cluster.reports) < 12
