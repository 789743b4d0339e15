"""Reports reach the output, the record and MLflow from threads; a slow or absent MLflow is no matter."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rayloop.jobs.report import parse_progress
from rayloop.jobs.training.callback import EpochReporter, lines_of
from rayloop.platform.registry.delivery import Delivery
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace

REPORT = {"epoch": 1, "train_loss": 0.5, "system/cpu_percent": 12.0}


@pytest.fixture
def settings(own_home: Path) -> Settings:
    return Settings.load({}, home=own_home, tracking_uri="http://127.0.0.1:9")


def report_all(reporter: EpochReporter, epochs: int) -> None:
    for epoch in range(1, epochs + 1):
        reporter.after_report(None, [{**REPORT, "epoch": epoch}, {}], None)


def wait(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_travels_to_the_controller(settings: Settings) -> None:
    assert isinstance(pickle.loads(pickle.dumps(EpochReporter(settings, "toy", "k", 3))), EpochReporter)


def test_without_mlflow_nobody_waits_and_the_record_is_written(
    settings: Settings, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.runs.begin("k", "toy", "train")
    reporter = EpochReporter(settings, "toy", "k", 50)
    began_s = time.monotonic()
    report_all(reporter, 50)
    assert time.monotonic() - began_s < 1
    wait(lambda: workspace.runs.get("k").epoch == 50)
    run = workspace.runs.get("k")
    assert run.metrics == {"train_loss": 0.5, "system/cpu_percent": 12.0}
    seen = [progress for line in capfd.readouterr().out.splitlines() if (progress := parse_progress(line))]
    assert [progress.epoch for progress in seen] == list(range(1, 51))
    assert seen[0].left_s is None
    assert seen[30].left_s is not None
    assert set(seen[0].metrics) == {"train_loss"}


def test_an_mlflow_that_hangs_holds_up_nothing(
    settings: Settings, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, told = threading.Event(), []

    def hang(self: Delivery, messages: Any) -> None:
        released.wait()
        told.extend(message.step for message in messages)

    monkeypatch.setattr(Delivery, "send", hang)
    workspace.runs.begin("k", "toy", "train")
    report_all(EpochReporter(settings, "toy", "k", 3), 3)
    wait(lambda: workspace.runs.get("k").epoch == 3)
    assert told == []
    released.set()
    wait(lambda: told == [1, 2, 3])


def test_a_report_may_tell_of_several_epochs() -> None:
    assert lines_of({"epoch": 2, "loss": 0.5}) == [(2, {"loss": 0.5})]
    assert lines_of({"lines": [[1, {"loss": 1}], [2, {"loss": 0.5}]]}) == [(1, {"loss": 1.0}), (2, {"loss": 0.5})]
    assert lines_of({"lines": []}) == []


def test_a_store_that_can_t_be_written_ends_nothing_and_nothing_is_said_twice(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "store"
    place.touch()
    reporter = EpochReporter(settings.model_copy(update={"store": str(place)}), "toy", "k", 3)
    report_all(reporter, 3)
    said: list[str] = []

    def count() -> int:
        said.extend(line for line in capfd.readouterr().out.splitlines() if parse_progress(line))
        return len(said)

    wait(lambda: count() == 3)
    place.unlink()  # now it can, and the next try writes it
    wait((place / "runs/k/progress.json").exists)
    assert count() == 3


def test_epochs_that_come_together_are_all_told_the_time_that_the_last_of_them_leaves(
    settings: Settings, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.runs.begin("k", "toy", "train")
    reporter = EpochReporter(settings, "toy", "k", 40)
    reporter.after_report(None, [{"lines": [[1, {"train_loss": 0.5}]]}], None)
    time.sleep(0.1)
    reporter.after_report(None, [{"lines": [[epoch, {"train_loss": 0.5}] for epoch in range(2, 22)]}], None)
    wait(lambda: workspace.runs.get("k").epoch == 21)
    seen = [progress for line in capfd.readouterr().out.splitlines() if (progress := parse_progress(line))]
    assert [progress.epoch for progress in seen] == list(range(1, 22))
    # The second epoch alone would leave 38 times the 0.1 s and more that both reports are apart.
    assert seen[1].left_s is not None
    assert seen[-1].left_s is not None
    assert seen[1].left_s == pytest.approx(seen[-1].left_s, rel=0.2)
