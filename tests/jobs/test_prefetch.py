"""Windows go to a GPU beside the training: pinned, copied and marked in turn, and waited for when they are used."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from rayloop.jobs.data import add_data
from rayloop.jobs.training import stream
from rayloop.jobs.training.data import Rows, part_tables
from rayloop.jobs.training.loop import Place, Plan, Training, build_module
from rayloop.jobs.training.prefetch import CudaSide, Prefetch, Sent
from rayloop.jobs.training.stream import PartReader, StreamFeed
from rayloop.platform.model.schema import fit_schema
from rayloop.platform.model.task import find_task
from rayloop.platform.workspace import Workspace
from torch import Tensor

from .conftest import build_project, build_table

TASK = find_task("tabular")


class Side:
    """A device that remembers in which order it was asked, for what, and by which thread; its copies are copies."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.threads: dict[str, set[str]] = {}
        self._marks = 0

    def _ask(self, what: str, of: int) -> None:
        self.asked.append((what, of))
        self.threads.setdefault(what, set()).add(threading.current_thread().name)

    def pin(self, tensor: Tensor) -> Tensor:
        self._ask("pin", tensor.numel())
        return tensor.clone()

    def copy(self, pinned: Tensor) -> Tensor:
        self._ask("copy", pinned.numel())
        return pinned.clone()

    def mark(self) -> int:
        self._marks += 1
        self._ask("mark", self._marks)
        return self._marks

    def wait(self, mark: int) -> None:
        self._ask("wait", mark)

    def keep(self, copied: Tensor) -> None:
        self._ask("keep", copied.numel())


def rows(count: int) -> Rows:
    numbers = torch.arange(3.0 * count)
    return Rows({"numeric": numbers.view(count, 3)}, numbers[:count].long())


def test_a_window_is_copied_then_marked_and_waited_for_only_when_it_is_used() -> None:
    side = Side()
    prefetch = Prefetch(torch.device("cpu"), side)
    first, second = prefetch.send(rows(4)), prefetch.send(rows(5))
    sent = [("pin", 12), ("copy", 12), ("pin", 4), ("copy", 4), ("mark", 1)]
    assert side.asked == [*sent, ("pin", 15), ("copy", 15), ("pin", 5), ("copy", 5), ("mark", 2)]
    side.asked.clear()
    assert torch.equal(prefetch.receive(first).inputs["numeric"], rows(4).inputs["numeric"])
    assert side.asked == [("wait", 1), ("keep", 12), ("keep", 4)]
    prefetch.receive(second)
    assert side.asked[3:] == [("wait", 2), ("keep", 15), ("keep", 5)]


def test_on_cpu_rows_stay_as_they_are() -> None:
    prefetch, given = Prefetch(torch.device("cpu")), rows(4)
    sent = prefetch.send(given)
    assert sent.mark is None
    assert prefetch.receive(sent).target.data_ptr() == given.target.data_ptr()


@pytest.fixture
def feed(workspace: Workspace, tmp_path: Path) -> StreamFeed:
    """Six row groups, of which two make a window."""
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(build_table(420), folder / "0.parquet", row_group_size=70)
    project = build_project(
        data={"source": str(folder), "key": "id"},
        train={"input": "stream", "shuffle_rows": 80, "batch_size": 24},
    )
    snapshot = add_data(workspace, project).snapshot
    schema = fit_schema(part_tables(snapshot, project)["train"], project)
    return StreamFeed(PartReader(snapshot, project, "train"), TASK, schema, Plan.of(project), Place())


def targets(feed: StreamFeed) -> list[list[float]]:
    return [share.batch.inputs["numeric"].nan_to_num(nan=-1.0).flatten().tolist() for share in feed.shares(1, 0)]


def test_a_stream_sends_from_its_reading_thread_and_receives_on_the_training_s(
    feed: StreamFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, side = targets(feed), Side()
    monkeypatch.setattr(stream, "Prefetch", lambda device: Prefetch(device, side))
    assert targets(feed) == plain
    here = {threading.current_thread().name}
    assert {what: threads == here for what, threads in side.threads.items()} == {
        "pin": False,
        "copy": False,
        "mark": False,
        "wait": True,
        "keep": True,
    }
    marks = [of for what, of in side.asked if what == "mark"]
    assert len(marks) > 2
    waits = [of for what, of in side.asked if what == "wait"]
    assert waits == marks[: len(waits)]  # the next epoch's first windows are on their way
    assert len(waits) > 2
    assert all(side.asked.index(("mark", mark)) < side.asked.index(("wait", mark)) for mark in waits)


def test_the_next_window_is_sent_while_one_is_trained_on(feed: StreamFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = threading.Semaphore(0)

    class Told(Prefetch):
        def send(self, rows: Rows) -> Sent:
            try:
                return super().send(rows)
            finally:
                sent.release()

    monkeypatch.setattr(stream, "Prefetch", Told)
    shares = feed.shares(0, 0)
    next(shares)
    # The training is within its first batch, and asks for nothing: the second window comes all the same.
    assert all(sent.acquire(timeout=30) for _ in range(2))
    shares.close()


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    torch.use_deterministic_algorithms(False)  # which needs a variable that cuBLAS reads before anything else
    return torch.device("cuda", 0)


@pytest.mark.gpu
def test_a_gpu_gets_the_rows_of_a_plain_copy(gpu: torch.device) -> None:
    """Windows that are made, sent, computed with and dropped at once: what overwrites another's memory would show."""
    prefetch = Prefetch(gpu)
    assert isinstance(prefetch._side, CudaSide)
    generator = torch.Generator().manual_seed(0)
    windows = [
        Rows({"x": torch.randn(40_000, 64, generator=generator)}, torch.randint(0, 9, (40_000,), generator=generator))
        for _ in range(12)
    ]
    weight = torch.randn(64, 64, generator=generator)
    on_gpu, found = weight.to(gpu), []
    waiting = prefetch.send(windows[0])
    for place in range(len(windows)):
        received = prefetch.receive(waiting)
        if place + 1 < len(windows):
            waiting = prefetch.send(windows[place + 1])
        assert received.target.device == gpu
        values = received.inputs["x"]
        for _ in range(20):  # so that copies run ahead of what is computed
            values = torch.tanh(values @ on_gpu)
        found.append((received.inputs["x"].sum(0), received.target.sum(), values.sum(0)))
        del received
    for window, (total, target, computed) in zip(windows, found, strict=True):
        plain = window.to(gpu)
        assert torch.equal(total, plain.inputs["x"].sum(0))
        assert torch.equal(target, plain.target.sum())
        values = plain.inputs["x"]
        for _ in range(20):
            values = torch.tanh(values @ on_gpu)
        assert torch.allclose(computed, values.sum(0), rtol=1e-4, atol=1e-2)


@pytest.mark.gpu
def test_a_gpu_s_stream_has_the_batches_of_the_cpu_s_and_trains(feed: StreamFeed, gpu: torch.device) -> None:
    plan, schema = feed._source.plan, feed._source.schema
    there = StreamFeed(feed._source.reader, TASK, schema, plan, Place(device=gpu))
    assert targets(there) == targets(feed)
    assert {share.batch.target.device for share in there.shares(0, 0)} == {gpu}
    training = Training(TASK, build_module(TASK, schema, plan).to(gpu), plan, Place(device=gpu))
    losses = [training.run_epoch(there) for _ in range(3)]
    assert losses[-1] < losses[0] / 2
