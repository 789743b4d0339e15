"""A training that is killed anywhere ends with the weights of one that was not; FSDP2 ends with those of DDP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parent / "trainer.py"
EACH_STEP: Mapping[str, Any] = {"every_steps": 1}


class Trainer:
    """The process that trains, and what it is asked."""

    def __init__(self) -> None:
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._calm: dict[int, dict[str, Any]] = {}

    def start(self, folder: Path, world: int = 1, **options: Any) -> list[int]:
        """Train until the end or a fault; the ranks' exit codes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder), world, options]) + "\n")
        self.process.stdin.flush()
        codes: list[int] = json.loads(self.process.stdout.readline())
        said = "\n".join((folder / f"rank{rank}.txt").read_text() for rank in range(world))
        assert -9 in codes or set(codes) == {0}, said  # the others of a dead one may end in an error of their own
        return codes

    def finish(self, folder: Path, world: int = 1, **options: Any) -> dict[str, Any]:
        """Train to the end; what came of it."""
        assert self.start(folder, world, **options) == [0] * world
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return found

    def calm(self, folder: Path, world: int) -> dict[str, Any]:
        """What an undisturbed training of so many ranks comes to."""
        if world not in self._calm:
            self._calm[world] = self.finish(folder / f"calm{world}", world)
        return self._calm[world]


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    made = Trainer()
    with made.process:  # closes what it reads from, by which it ends
        yield made
    assert made.process.returncode == 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "weights.pt", weights_only=True)["weights"]
    return found


def differ(first: Path, second: Path) -> float:
    ours, theirs = weights(first), weights(second)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours if ours[name].numel())


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "store/checkpoints").iterdir())


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("step", 4),  # in mid-epoch
        ("step", 12),  # in the second epoch
        ("fsync", 7),  # while the state of a step is written
        ("fsync", 8),  # while its manifest is
    ],
)
def test_a_kill_changes_no_weight(trainer: Trainer, tmp_path: Path, kind: str, at: int) -> None:
    fault = {"rank": 0, "kind": kind, "at": at}
    assert trainer.start(tmp_path, rule=EACH_STEP, fault=fault) == [-9]
    assert not (tmp_path / "result.json").exists()
    before = checkpoints(tmp_path)
    assert before
    assert trainer.finish(tmp_path, rule=EACH_STEP) == trainer.calm(tmp_path, 1)
    assert set(before) <= set(checkpoints(tmp_path))  # it went on from there


@pytest.mark.parametrize("rank", [0, 1])
def test_a_kill_of_one_of_two_changes_no_weight(trainer: Trainer, tmp_path: Path, rank: int) -> None:
    fault = {"rank": rank, "kind": "step", "at": 7}
    assert -9 in trainer.start(tmp_path, 2, rule={"every_steps": 3}, fault=fault)
    assert checkpoints(tmp_path)
    assert trainer.finish(tmp_path, 2, rule={"every_steps": 3}) == trainer.calm(tmp_path, 2)


def test_a_damaged_checkpoint_gives_way_and_no_weight_changes(trainer: Trainer, tmp_path: Path) -> None:
    fault = {"rank": 0, "kind": "step", "at": 13}
    trainer.start(tmp_path, rule=EACH_STEP, fault=fault)
    whole = sorted((tmp_path / "store/checkpoints").glob("*/manifest.json"))  # the last may be half written
    state = whole[-1].parent / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    assert trainer.finish(tmp_path, rule=EACH_STEP) == trainer.calm(tmp_path, 1)


def test_another_number_of_ranks_goes_on_with_the_same_rows(trainer: Trainer, tmp_path: Path) -> None:
    """Without dropout, whose draws are each rank's own, only rounding differs."""
    plan = {"params": {"hidden": [16, 8], "dropout": 0.0}}
    one, two = tmp_path / "one", tmp_path / "two"
    trainer.finish(one, plan=plan)
    fault = {"rank": 0, "kind": "step", "at": 6}
    trainer.start(two, 2, plan=plan, rule=EACH_STEP, fault=fault)
    assert checkpoints(two)
    trainer.finish(two, 1, plan=plan, rule=EACH_STEP)
    assert differ(one, two) < 1e-6


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"optimizer": "sgd", "clip_norm": 0.1, "schedule": "cosine", "warmup_steps": 3},
        {"ema": 0.9, "accumulate": 3},
    ],
    ids=["adamw", "sgd", "average"],
)
def test_fsdp_gives_what_ddp_gives(trainer: Trainer, tmp_path: Path, plan: dict[str, Any]) -> None:
    """Twenty steps on two ranks."""
    ddp = trainer.finish(tmp_path / "ddp", 2, plan=plan)
    fsdp = trainer.finish(tmp_path / "fsdp", 2, plan={**plan, "strategy": "fsdp"})
    assert differ(tmp_path / "ddp", tmp_path / "fsdp") < 1e-6
    for ours, theirs in zip(fsdp["history"], ddp["history"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_parted_checkpoint_loads_on_another_number_of_ranks(
    trainer: Trainer, tmp_path: Path, before: int, after: int
) -> None:
    plan = {"strategy": "fsdp", "params": {"hidden": [16, 8], "dropout": 0.0}, "ema": 0.9}
    calm, moved = tmp_path / "calm", tmp_path / "moved"
    trainer.finish(calm, 2, plan=plan)
    fault = {"rank": 0, "kind": "step", "at": 14}
    trainer.start(moved, before, plan=plan, rule={"every_steps": 4}, fault=fault)
    assert checkpoints(moved)[-1] == "000001-000000004"
    trainer.finish(moved, after, plan=plan, rule={"every_steps": 4})
    assert differ(calm, moved) < 1e-6


def test_a_training_that_ended_trains_no_further(trainer: Trainer, tmp_path: Path) -> None:
    first = trainer.finish(tmp_path)
    written = checkpoints(tmp_path)
    assert trainer.finish(tmp_path) == first
    assert checkpoints(tmp_path) == written
