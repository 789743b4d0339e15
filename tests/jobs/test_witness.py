"""A witness takes the weights' hash after each epoch, measures, goes through checkpoints, and changes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.data import Rows
from rayloop.jobs.training.feed import Feed, MemoryFeed, Share
from rayloop.jobs.training.fingerprint import fingerprint
from rayloop.jobs.training.loop import Place, Training
from rayloop.jobs.training.saving import Saver
from rayloop.jobs.training.session import Alone, Session
from rayloop.jobs.training.witness import WITNESS_FILE, Witness, labels, log_witness
from rayloop.platform.data import Store
from rayloop.platform.project.training import CheckpointConfig

from .conftest import TASK, Toy


def watched(toy: Toy, place: Place | None = None) -> tuple[Training, Witness]:
    training = toy.training()
    sample = toy.rows.take(torch.arange(16))
    return training, Witness(TASK, toy.project, training, place or Place(), sample)


def saved(training: Training) -> dict[str, Any]:
    """What a checkpoint holds of it, as a restart reads it."""
    buffer = io.BytesIO()
    torch.save(training.state(), buffer)
    buffer.seek(0)
    state: dict[str, Any] = torch.load(buffer, weights_only=True)
    return state


def epoch(toy: Toy, training: Training, witness: Witness) -> dict[str, float]:
    witness.epoch_begins()
    training.run_epoch(toy.rows)
    return witness.epoch_ended(toy.rows.count)


def test_a_watched_training_ends_with_the_same_bits(make_toy: type[Toy]) -> None:
    toy = make_toy.make(params={"dropout": 0.5})
    alone = toy.training()
    training, witness = watched(toy)
    for _ in range(3):
        alone.run_epoch(toy.rows)
        epoch(toy, training, witness)
    witness.end()
    assert fingerprint(training.module.state_dict()) == fingerprint(alone.module.state_dict())


def test_what_is_seen(make_toy: type[Toy]) -> None:
    toy = make_toy.make()
    training, witness = watched(toy)
    initial = fingerprint(training.module.state_dict())
    hashes = []
    for _ in range(2):
        found = epoch(toy, training, witness)
        hashes.append(fingerprint(training.module.state_dict()))
        with witness.checkpoint():
            pass
    witness.end()
    seen = saved(training)["kept"]["witness"]
    assert seen["initial"] == initial
    assert [entry["sha256"] for entry in seen["epochs"]] == hashes
    assert [entry["epoch"] for entry in seen["epochs"]] == [1, 2]
    assert seen["deterministic"] is True
    expected = {f"time/{phase}_ms" for phase in ("data", "forward", "backward", "optimizer", "checkpoint")}
    assert expected | {"time/epoch_s", "rate/rows_per_s", "rate/flops_per_s", "system/cpu_percent"} <= set(found)
    assert "rate/flops_utilisation" not in found  # a CPU has no peak in the table
    assert all(isinstance(value, float) for value in found.values())
    assert found["rate/rows_per_s"] == pytest.approx(toy.rows.count / found["time/epoch_s"])


def test_a_restart_is_remembered(make_toy: type[Toy]) -> None:
    toy = make_toy.make()
    first, witness = watched(toy)
    epoch(toy, first, witness)
    witness.end()

    second, again = watched(toy)
    second.restore(saved(first))
    epoch(toy, second, again)
    again.end()
    seen = saved(second)["kept"]["witness"]
    assert [entry["epoch"] for entry in seen["epochs"]] == [1, 2]
    assert [start["epoch"] for start in seen["starts"]] == [0, 1]
    assert labels(seen) == {"rayloop.world": "1", "rayloop.deterministic": "true", "rayloop.resumed": "1"}

    calm, third = watched(toy)
    for _ in range(2):
        epoch(toy, calm, third)
    third.end()
    whole = calm.kept["witness"]
    assert whole["epochs"] == seen["epochs"]
    assert whole["initial"] == seen["initial"]


def test_an_epoch_that_a_checkpoint_missed_is_trained_and_told_again(make_toy: type[Toy]) -> None:
    toy = make_toy.make()
    first, witness = watched(toy)
    epoch(toy, first, witness)
    state = saved(first)
    epoch(toy, first, witness)  # lost with its worker
    witness.end()
    second, again = watched(toy)
    second.restore(state)
    epoch(toy, second, again)
    again.end()
    assert second.kept["witness"]["epochs"] == first.kept["witness"]["epochs"]


def test_a_change_of_the_number_of_workers_is_a_label() -> None:
    seen = {"starts": [{"world": 4}, {"world": 2}], "deterministic": False}
    assert labels(seen) == {
        "rayloop.world": "2",
        "rayloop.deterministic": "false",
        "rayloop.resumed": "1",
        "rayloop.elastic": "4 -> 2",
    }


def test_the_other_ranks_see_nothing(make_toy: type[Toy], tmp_path: Path) -> None:
    toy = make_toy.make()
    training, witness = watched(toy, Place(rank=1, world=2))
    assert epoch(toy, training, witness) == {}
    assert training.kept == {}
    witness.profile_to(Store(str(tmp_path)), "profile")
    witness.end()
    assert list(tmp_path.iterdir()) == []


def test_a_profile_is_kept_as_tensorboard_reads_it(make_toy: type[Toy], tmp_path: Path) -> None:
    import gzip

    toy = make_toy.make()
    training, witness = watched(toy)
    witness.profile_to(Store(str(tmp_path / "store")), "runs/k/profile")
    epoch(toy, training, witness)
    witness.end()
    (trace,) = (tmp_path / "store/runs/k/profile").glob("*.pt.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert {"aten::addmm"} <= {event.get("name") for event in events}
    calm = toy.training()
    calm.run_epoch(toy.rows)
    assert fingerprint(training.module.state_dict()) == fingerprint(calm.module.state_dict())


class Log:
    """Takes down what a tracker is told."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.tags: dict[str, str] = {}

    def log_text(self, name: str, text: str) -> None:
        self.texts[name] = text

    def log_params(self, params: dict[str, str], tags: dict[str, str]) -> None:
        self.tags |= tags


def test_the_run_keeps_what_was_seen_where_something_was(make_toy: type[Toy]) -> None:
    toy = make_toy.make()
    training, witness = watched(toy)
    epoch(toy, training, witness)
    witness.end()
    log: Any = Log()
    log_witness(log, {})
    assert (log.texts, log.tags) == ({}, {})
    log_witness(log, training.kept)
    assert json.loads(log.texts[WITNESS_FILE]) == training.kept["witness"]
    assert log.tags == {"rayloop.world": "1", "rayloop.deterministic": "true"}


class Cut(MemoryFeed):
    """Rows whose worker dies after seven steps."""

    def shares(self, epoch: int, first_step: int) -> Iterator[Share]:
        yield from islice(super().shares(epoch, first_step), 7)
        raise ConnectionError


def run(toy: Toy, folder: Path, feed: Feed | Rows) -> Training:
    """A session under watch with a checkpoint each third step, as a worker runs it."""
    training, witness = watched(toy)
    saver = Saver(Checkpoints(Store(str(folder)), "checkpoints"), Place(), "ddp")
    try:
        Session(training, Place(), saver, CheckpointConfig(every_steps=3), Alone(), watcher=witness).run(feed, toy.rows)
    finally:
        witness.end()
        saver.wait()
    return training


def test_a_session_tells_what_was_seen_and_keeps_it_with_its_last_checkpoint(
    make_toy: type[Toy], tmp_path: Path
) -> None:
    toy = make_toy.make()
    training = run(toy, tmp_path, toy.rows)
    found = Checkpoints(Store(str(tmp_path)), "checkpoints").latest()
    assert found is not None
    assert found[0].about["is_last"]
    seen = torch.load(io.BytesIO(found[1]["state.pt"]), weights_only=True)["kept"]["witness"]
    assert seen["epochs"][-1]["sha256"] == fingerprint(training.module.state_dict())
    assert [(entry["epoch"], entry["accumulate"]) for entry in seen["epochs"]] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    told = {"train_loss", "validation_accuracy", "time/epoch_s", "time/data_ms", "time/forward_ms", "rate/rows_per_s"}
    assert all(told <= set(line) for line in training.history)


def test_a_start_within_an_epoch_is_remembered_and_gives_no_speed(make_toy: type[Toy], tmp_path: Path) -> None:
    toy = make_toy.make()
    with pytest.raises(ConnectionError):
        run(toy, tmp_path / "cut", Cut(toy.rows, 16, 0, Place()))
    training = run(toy, tmp_path / "cut", toy.rows)
    seen = training.kept["witness"]
    assert [start["epoch"] for start in seen["starts"]] == [0, 0]
    assert seen["epochs"] == run(toy, tmp_path / "calm", toy.rows).kept["witness"]["epochs"]
    first, second = training.history[:2]
    assert "time/forward_ms" in first
    assert {"time/epoch_s", "rate/rows_per_s"} & set(first) == set()
    assert {"time/epoch_s", "rate/rows_per_s"} <= set(second)
