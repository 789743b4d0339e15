"""What a worker makes of its faults: one sentence each, noted where it is final, and the last checkpoint is whole.

A disk that is full and one that can't be written to are real ones: a small tmpfs.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rayloop.jobs.training.artifact import log_artifact
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.data import forget_tables, part_tables
from rayloop.jobs.training.faults import noted
from rayloop.jobs.training.loop import NoRoom, OutOfMemory, Place, Plan, TrainingDiverged, measure
from rayloop.jobs.training.preparation import prepare
from rayloop.jobs.training.reader import open_parts
from rayloop.jobs.training.run import Run, raise_failure
from rayloop.jobs.training.saving import STATE_FILE
from rayloop.jobs.training.session import Alone
from rayloop.jobs.training.worker import train_rank
from rayloop.platform.data import Snapshot, Store, create_snapshot, read_source_files
from rayloop.platform.errors import InvalidInput, NotFound, RayloopError, Unavailable
from rayloop.platform.model.artifact import load_artifact
from rayloop.platform.project import Project

from .conftest import TASK, build_project, build_table

EPOCHS = 4
EACH_EPOCH = {"every_epochs": 1, "every_steps": 5}

# A task of a user: the loss is no number from some step on, or a step has memory for a few rows.
CODE = '''
import torch
from rayloop.platform.model.tabular import TabularTask

class Poisoned(TabularTask):
    """Its loss is NaN from the 14th step on."""
    steps = 0

    def loss(self, module, batch):
        is_step = module.training and not batch.target.is_meta  # operations are counted on the meta device
        Poisoned.steps += is_step
        found = super().loss(module, batch)
        return found * float("nan") if is_step and Poisoned.steps >= 14 else found

class Greedy(TabularTask):
    """A step of more than four rows asks the host for a petabyte."""

    def loss(self, module, batch):
        if module.training and len(batch.target) > 4:
            torch.empty(1 << 50, dtype=torch.uint8)
        return super().loss(module, batch)
'''


@dataclass
class Tries:
    """A run of a project in a store of its own, tried without Ray as often as a test likes."""

    store: Store
    project: Project
    snapshot: Snapshot
    said: list[str] = field(default_factory=list)

    @property
    def run(self) -> Run:
        return Run(self.store, "run")

    def train(self, outside: Alone | None = None, plan: Plan | None = None) -> None:
        """Train on one rank to the end, from the newest checkpoint."""
        parts = open_parts(self.snapshot, self.project, "memory")
        schema, made = prepare(plan or Plan.of(self.project), self.project, parts)
        del parts
        forget_tables()
        digest, outside = self.snapshot.digest, outside or Alone()
        train_rank(self.project, schema, digest, self.store, self.run, made, Place(), outside, self.said.append)

    def last(self) -> dict[str, Any]:
        """The state in the newest whole checkpoint."""
        found = Checkpoints(self.store, self.run.checkpoints).latest()
        assert found is not None
        state: dict[str, Any] = torch.load(io.BytesIO(found[1][STATE_FILE]), weights_only=True)
        return state


def tries_of(folder: Path, store: Path | str, table: pa.Table | None = None, **train: Any) -> Tries:
    path = folder / "data.parquet"
    pq.write_table(build_table(200) if table is None else table, path)
    project = build_project(data={"source": str(path)}, train={"epochs": EPOCHS, "checkpoint": EACH_EPOCH, **train})
    opened = Store(str(store))
    return Tries(opened, project, create_snapshot(opened, project, read_source_files(str(path))))


@pytest.fixture
def calm(tmp_path: Path) -> Mapping[str, Any]:
    """The last state of a training that nothing happened to."""
    (tmp_path / "calm").mkdir()
    tries = tries_of(tmp_path / "calm", tmp_path / "calm/store")
    tries.train()
    return tries.last()


@pytest.fixture
def own_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tries]:
    """Tries with one of the tasks above, in the working folder."""
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)

    def make(name: str, **train: Any) -> Tries:
        tries = tries_of(tmp_path, tmp_path / "store", **train)
        task = tries.project.task.model_copy(update={"use": f"mine:{name}"})
        return replace(tries, project=tries.project.model_copy(update={"task": task}))

    return make


def assert_same(state: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for name, tensor in other["module"].items():
        assert torch.equal(state["module"][name], tensor), name


# --- a loss that is no number, and steps that do not fit ---


def test_a_loss_that_becomes_nan_names_the_step_and_leaves_the_last_checkpoint(own_task: Callable[..., Tries]) -> None:
    tries = own_task("Poisoned")
    rows = part_tables(tries.snapshot, tries.project)["train"].num_rows
    steps = -(-rows // 16)
    with pytest.raises(TrainingDiverged) as caught:
        tries.train()
    epoch, step = 1 + 13 // steps, 1 + 13 % steps
    assert str(caught.value) == (
        f"the loss is NaN or infinite in epoch {epoch}, step {step}: lower train.learning_rate, or look for huge "
        "values in the features"
    )
    assert caught.value.exit_code == 1
    assert all(torch.isfinite(tensor).all() for tensor in tries.last()["module"].values())
    with pytest.raises(TrainingDiverged, match=f"epoch {epoch}, step {step}"):
        raise_failure(tries.run.failure())


def test_the_columns_that_it_may_have_diverged_by_are_named(tmp_path: Path) -> None:
    table = build_table(200)
    values = table.column("b").to_numpy().copy()
    values[3::7] = 3e30
    table = table.set_column(table.column_names.index("b"), "b", pa.array(values))
    tries = tries_of(tmp_path, tmp_path / "store", table, learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match=r"in epoch 1, step \d+: .*mend the columns 'b' \(up to 3e\+30, but "):
        tries.train()


def test_a_step_that_does_not_fit_ends_the_run_unless_it_may_be_parted(own_task: Callable[..., Tries]) -> None:
    """The allocator's own refusal, of a petabyte."""
    tries = own_task("Greedy", epochs=1)
    with pytest.raises(OutOfMemory) as caught:
        tries.train()
    sentence = "memory does not suffice for 16 rows at once, in epoch 1, step 1: raise train.accumulate, set "
    assert str(caught.value) == sentence + "train.allow_smaller_batch to true, or lower train.batch_size"
    with pytest.raises(OutOfMemory, match="16 rows at once"):
        raise_failure(tries.run.failure())
    tries.train(plan=replace(Plan.of(tries.project), allow_smaller_batch=True))
    assert tries.said == [
        "memory does not suffice for 16 rows at once: going on with 8",
        "memory does not suffice for 8 rows at once: going on with 4",
    ]
    assert (tries.last()["accumulate"], tries.last()["epoch"]) == (4, 1)


def test_of_several_ranks_the_next_try_computes_half_as_many_rows_at_once(tmp_path: Path) -> None:
    tries = tries_of(tmp_path, tmp_path / "store")
    plan = replace(Plan.of(tries.project), allow_smaller_batch=True)
    with pytest.raises(OutOfMemory), noted(tries.run, plan, tries.said.append, str):
        raise OutOfMemory(1, 1, 8, 2)
    assert tries.said == ["memory does not suffice for 8 rows at once: the next try computes half as many"]
    assert (tries.run.accumulate(), tries.run.failure()) == (4, {})
    with pytest.raises(OutOfMemory), noted(tries.run, plan, tries.said.append, str):
        raise OutOfMemory(1, 1, 1, 16)  # no row is left to part
    assert tries.run.failure()["kind"] == "OutOfMemory"


def test_what_does_not_fit_beside_the_steps_is_one_sentence_too(tmp_path: Path) -> None:
    tries = tries_of(tmp_path, tmp_path / "store")
    plan = Plan.of(tries.project)
    sentence = "^memory does not suffice for the module, its optimizer and the rows: set train[.]input to stream"
    with pytest.raises(NoRoom, match=sentence), noted(tries.run, plan, tries.said.append, str):
        torch.empty(1 << 50, dtype=torch.uint8)
    with pytest.raises(NoRoom):
        raise_failure(tries.run.failure())
    with pytest.raises(RuntimeError, match="of the code"), noted(tries.run, plan, tries.said.append, str):
        raise RuntimeError("a fault of the code")


def test_held_out_rows_that_do_not_fit_are_judged_in_parts(make_toy: Any) -> None:
    toy = make_toy.make(100)

    class Small(type(TASK)):  # type: ignore[misc]
        def predict(self, module: Any, inputs: Any) -> Any:
            if len(inputs["numeric"]) > 20:
                torch.empty(1 << 50, dtype=torch.uint8)
            return super().predict(module, inputs)

    module = toy.training().module
    assert measure(Small(), module, toy.rows) == pytest.approx(measure(TASK, module, toy.rows))


# --- rows that no try can train on ---


def test_a_fault_of_the_rows_is_noted_and_not_tried_again(tmp_path: Path) -> None:
    tries = tries_of(tmp_path, tmp_path / "store")
    with pytest.raises(NotFound, match="is not in the store"):
        replace(tries, snapshot=_Gone(tries.snapshot)).train()
    with pytest.raises(NotFound, match="is not in the store"):
        raise_failure(tries.run.failure())


class _Gone(Snapshot):
    """One of which the manifest is lost after it was opened."""

    def __init__(self, known: Snapshot) -> None:
        super().__init__(known.store, known.manifest)
        self.digest = "0" * 64


# --- a disk that is full, one that can't be written to, one that is gone ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return


def after_epoch(tries: Tries, monkeypatch: pytest.MonkeyPatch, epoch: int, happens: Callable[[], Any]) -> None:
    """Let something happen once, when the checkpoint of an epoch is whole."""
    written = Checkpoints.end
    left = [happens]

    def end(self: Checkpoints, name: str, files: Any, about: Mapping[str, Any]) -> Any:
        found = written(self, name, files, about)
        if about["epoch"] >= epoch and left:
            left.pop()()
        return found

    monkeypatch.setattr(Checkpoints, "end", end)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


FAULTS: Mapping[str, tuple[Callable[[Path], None], Callable[[Path], None], str]] = {
    "full": (fill, lambda disk: (disk / "filler").unlink(), "No space left on device"),
    "read-only": (lambda disk: remount(disk, "ro"), lambda disk: remount(disk, "rw"), "Read-only file system"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_disk_that_takes_no_more_ends_the_try_and_the_next_one_goes_on_bit_for_bit(
    tmp_path: Path, disk: Path, calm: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    breaks, mends, reason = FAULTS[name]
    tries = tries_of(tmp_path, disk / "store")
    after_epoch(tries, monkeypatch, 2, lambda: breaks(disk))
    with pytest.raises(Unavailable) as caught:
        tries.train()
    assert str(caught.value).startswith(("cannot write ", "cannot remove "))
    assert reason in str(caught.value)
    assert caught.value.exit_code == 5
    before = tries.last()
    assert (before["epoch"], tries.run.failure()) == (2, {})  # the next try may find it well
    mends(disk)
    tries.train()
    assert tries.last()["epoch"] == EPOCHS
    assert_same(tries.last(), calm)


def test_a_store_whose_folder_is_removed_is_said_and_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tries_of(tmp_path, tmp_path / "store")
    after_epoch(tries, monkeypatch, 2, lambda: shutil.rmtree(tmp_path / "store"))
    with pytest.raises(Unavailable, match=r"^the store .*/store is gone: its folder is not there any more$"):
        tries.train()
    assert not (tmp_path / "store").exists()


@dataclass
class Ended:
    """A tracker that keeps how the run ended, and with what sentence."""

    key: str = "toy-train-1"
    run_id: str = "m1"
    ends: list[tuple[str, str]] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def finish(self, status: str = "FINISHED") -> None:
        self.ends.append((status, str(sys.exc_info()[1])))

    def log_model(self, folder: Path, signature: Any, sha256: str) -> str:
        self.logged.append(load_artifact(str(folder)).sha256)
        return "models:/m-1"


@pytest.mark.parametrize("left_bytes", [0, 4096, 8192, 16_384])
def test_a_disk_that_takes_no_artifact_leaves_the_training_at_its_end(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, left_bytes: int
) -> None:
    tries = tries_of(tmp_path, tmp_path / "store", epochs=1)
    tries.train()
    parts = open_parts(tries.snapshot, tries.project, "memory")
    schema, plan = prepare(Plan.of(tries.project), tries.project, parts)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))

    def log(tracker: Ended) -> Any:
        return log_artifact(tracker, tries.project, schema, plan, tries.last()["best"], parts)  # type: ignore[arg-type]

    fill(disk)
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - left_bytes)
    tracker = Ended()
    with pytest.raises(Unavailable) as caught:
        log(tracker)
    start = f"cannot write the artifact of run toy-train-1 below {disk}: "
    assert str(caught.value).startswith(start)
    assert "No space left on device" in str(caught.value)
    assert str(caught.value).endswith("; its last checkpoint stays: `rayloop resume toy-train-1` goes on from there")
    assert (tracker.ends, tracker.logged) == ([("FAILED", str(caught.value))], [])
    assert [path.name for path in disk.iterdir()] == ["filler"]
    (disk / "filler").unlink()
    assert log(tracker).sha256 == tracker.logged[0]


def test_every_kind_of_fault_that_is_final_comes_back_as_it_was(tmp_path: Path) -> None:
    run = Run(Store(str(tmp_path)), "run")
    faults: list[RayloopError] = [
        TrainingDiverged(2, 3, "the columns 'a'"),
        OutOfMemory(1, 2, 8, 4),
        NoRoom(),
        InvalidInput("a value breaks a rule"),
    ]
    for fault in faults:
        run.fail(fault)
        with pytest.raises(type(fault)) as caught:
            raise_failure(run.failure())
        assert (str(caught.value), caught.value.exit_code) == (str(fault), fault.exit_code)
