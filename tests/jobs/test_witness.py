"""A witness takes the weights' hash after each epoch, measures, goes through checkpoints, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rayloop.jobs.training.fingerprint import fingerprint
from rayloop.jobs.training.loop import Place, Training
from rayloop.jobs.training.witness import WITNESS_FILE, Witness, labels, log_witness
from rayloop.platform.data import Store

from .conftest import TASK, Toy


def watched(toy: Toy, place: Place | None = None) -> tuple[Training, Witness]:
    training = toy.training()
    witness = Witness(TASK, toy.project, toy.rows, training.module, place or Place())
    training.timer = witness.timer
    return training, witness


def epoch(toy: Toy, training: Training, witness: Witness) -> dict[str, float]:
    witness.epoch_begins()
    training.run_epoch(toy.rows)
    return witness.epoch_ended()


def test_a_watched_training_ends_with_the_same_bits(make_toy: type[Toy]) -> None:
    toy = make_toy.make(params={"dropout": 0.5})
    alone = toy.training()
    training, witness = watched(toy)
    for _ in range(3):
        alone.run_epoch(toy.rows)
        epoch(toy, training, witness)
    witness.end()
    assert fingerprint(training.module.state_dict()) == fingerprint(alone.module.state_dict())


def test_what_is_seen(make_toy: type[Toy], tmp_path: Path) -> None:
    toy = make_toy.make()
    training, witness = watched(toy)
    initial = fingerprint(training.module.state_dict())
    hashes = []
    for _ in range(2):
        found = epoch(toy, training, witness)
        hashes.append(fingerprint(training.module.state_dict()))
        with witness.checkpoint():
            pass
    witness.save(tmp_path)
    witness.end()
    seen = json.loads((tmp_path / WITNESS_FILE).read_text())
    assert seen["initial"] == initial
    assert [entry["sha256"] for entry in seen["epochs"]] == hashes
    assert [entry["epoch"] for entry in seen["epochs"]] == [1, 2]
    assert seen["deterministic"] is True
    expected = {f"time/{phase}_ms" for phase in ("data", "forward", "backward", "optimizer", "checkpoint")}
    assert expected | {"time/epoch_s", "rate/rows_per_s", "rate/flops_per_s", "system/cpu_percent"} <= set(found)
    assert "rate/flops_utilisation" not in found  # a CPU has no peak in the table
    assert all(isinstance(value, float) for value in found.values())
    assert found["rate/rows_per_s"] == pytest.approx(toy.rows.count / found["time/epoch_s"])


def test_a_restart_is_remembered(make_toy: type[Toy], tmp_path: Path) -> None:
    toy = make_toy.make()
    first, witness = watched(toy)
    epoch(toy, first, witness)
    witness.save(tmp_path)
    witness.end()
    state = first.state()

    second, again = watched(toy)
    second.restore(state)
    again.restore(tmp_path)
    epoch(toy, second, again)
    again.save(tmp_path)
    again.end()
    seen = json.loads((tmp_path / WITNESS_FILE).read_text())
    assert [entry["epoch"] for entry in seen["epochs"]] == [1, 2]
    assert [start["epoch"] for start in seen["starts"]] == [0, 1]
    assert labels(seen) == {"rayloop.world": "1", "rayloop.deterministic": "true", "rayloop.resumed": "1"}

    calm, third = watched(toy)
    for _ in range(2):
        epoch(toy, calm, third)
    third.save(tmp_path)
    third.end()
    whole = json.loads((tmp_path / WITNESS_FILE).read_text())
    assert whole["epochs"] == seen["epochs"]
    assert whole["initial"] == seen["initial"]


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
    witness.save(tmp_path)
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


def test_a_training_without_a_report_logs_none(tmp_path: Path) -> None:
    class Nothing:
        def __getattr__(self, name: str) -> None:
            raise AssertionError("nothing is logged")

    log_witness(Nothing(), tmp_path)  # type: ignore[arg-type]
    assert torch.get_num_threads() >= 1
