"""The rows of a step come from (seed, epoch) alone: in memory, streamed, for any number of ranks, after a resume."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from rayloop.jobs.data import add_data
from rayloop.jobs.training.data import encode_rows, part_tables
from rayloop.jobs.training.feed import CHUNK_ROWS, Feed, MemoryFeed, Share
from rayloop.jobs.training.loop import Place, Plan, Training, build_module
from rayloop.jobs.training.reader import PartReader, RowGroup
from rayloop.jobs.training.stream import StreamFeed
from rayloop.jobs.training.window import Chosen
from rayloop.platform.data import Snapshot
from rayloop.platform.model.schema import fit_schema
from rayloop.platform.model.task import find_task
from rayloop.platform.project import Project
from rayloop.platform.workspace import Workspace

from .conftest import build_project, build_table
from .test_loop import numbered

TASK = find_task("tabular")
BATCH = 24


def rows_of(share: Share) -> list[float]:
    return share.batch.target.tolist() if share.rows else []


@pytest.mark.parametrize("world", [1, 2, 3, 40])
@pytest.mark.parametrize("rows", [1, 23, 24, 100, 2 * CHUNK_ROWS])
def test_ranks_together_have_every_batch_of_the_seed_s_order(rows: int, world: int) -> None:
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(_seed(epoch=2))).tolist()
    if rows > 1000 and world > 3:
        pytest.skip("slow, and the same as with fewer rows")
    feeds = [MemoryFeed(numbered(rows), BATCH, 5, Place(rank, world)) for rank in range(world)]
    steps = list(zip(*(feed.shares(2, 0) for feed in feeds), strict=True))
    assert len(steps) == -(-rows // BATCH)
    for step, shares in enumerate(steps):
        whole = order[step * BATCH : (step + 1) * BATCH]
        assert [rows_of(share) for share in shares] == [whole[rank::world] for rank in range(world)]
        assert {share.of for share in shares} == {len(whole)}
        assert all(len(share.batch.target) == max(1, share.rows) for share in shares)


@pytest.mark.parametrize("first", [0, 1, 3, 4])
def test_a_resumed_epoch_goes_on_with_the_same_rows(first: int) -> None:
    feed = MemoryFeed(numbered(100), BATCH, 0, Place(1, 2))
    assert [rows_of(s) for s in feed.shares(3, first)] == [rows_of(s) for s in feed.shares(3, 0)][first:]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two files of several row groups; the snapshot keeps them as they are."""
    folder = tmp_path / "data"
    folder.mkdir()
    for place in range(2):
        pq.write_table(build_table(300, seed=place), folder / f"{place}.parquet", row_group_size=70)
    return build_project(data={"source": str(folder), "key": "id"}, train={"input": "stream", "shuffle_rows": 100})


@pytest.fixture
def snapshot(workspace: Workspace, project: Project) -> Snapshot:
    return add_data(workspace, project).snapshot


def stream(snapshot: Snapshot, project: Project, place: Place | None = None) -> StreamFeed:
    schema = fit_schema(part_tables(snapshot, project)["train"], project)
    plan = Plan.of(project, {"batch_size": BATCH})
    return StreamFeed(PartReader(snapshot, project, "train"), TASK, schema, plan, place or Place())


def taken(feed: Feed, epoch: int = 0, first: int = 0) -> list[list[list[float]]]:
    """Each share's rows as numbers, which name them well enough."""
    return [numbers_of(share) for share in feed.shares(epoch, first)]


def numbers_of(share: Share) -> list[list[float]]:
    """The numbers of a share's rows."""
    values: list[list[float]] = torch.nan_to_num(share.batch.inputs["numeric"], nan=-1.0).tolist()
    return values if share.rows else []


def test_a_stream_gives_every_training_row_once(snapshot: Snapshot, project: Project) -> None:
    feed = stream(snapshot, project)
    table = part_tables(snapshot, project)["train"]
    schema = fit_schema(table, project)
    wanted = torch.nan_to_num(encode_rows(TASK, schema, table).inputs["numeric"], nan=-1.0).tolist()
    given = [row for share in taken(feed) for row in share]
    assert feed.count == table.num_rows == len(given)
    assert sorted(given) == sorted(wanted)
    assert given != wanted
    assert [share.of for share in feed.shares(0, 0)][:-1] == [BATCH] * (feed.count // BATCH)


def test_a_stream_has_an_order_for_each_epoch_that_the_number_of_ranks_does_not_change(
    snapshot: Snapshot, project: Project
) -> None:
    alone = taken(stream(snapshot, project))
    assert taken(stream(snapshot, project)) == alone
    assert taken(stream(snapshot, project), epoch=1) != alone
    ranks = [taken(stream(snapshot, project, Place(rank, 3))) for rank in range(3)]
    for step, whole in enumerate(alone):
        assert [rank[step] for rank in ranks] == [whole[place::3] for place in range(3)]


@pytest.mark.parametrize("world", [2, BATCH - 1, BATCH + 3])
@pytest.mark.parametrize("from_the_end", [100, 1])
def test_ranks_of_a_stream_share_its_batches_also_where_some_have_no_row(
    snapshot: Snapshot, project: Project, world: int, from_the_end: int
) -> None:
    alone = taken(stream(snapshot, project))
    assert 0 < len(alone[-1]) < len(alone[0]) == BATCH
    first = max(0, len(alone) - from_the_end)
    ranks = [list(stream(snapshot, project, Place(rank, world)).shares(0, first)) for rank in range(world)]
    for step, whole in enumerate(alone[first:]):
        assert [numbers_of(rank[step]) for rank in ranks] == [whole[place::world] for place in range(world)]
        assert all(len(rank[step].batch.target) == max(1, rank[step].rows) for rank in ranks)


def test_a_rank_of_a_stream_makes_tensors_of_its_own_rows_alone(snapshot: Snapshot, project: Project) -> None:
    made = []
    for rank in range(3):
        source = stream(snapshot, project, Place(rank, 3))._source
        made.append(sum(rows.count for rows in source.epochs(3, BATCH) if rows is not None))
    count = stream(snapshot, project).count - BATCH
    assert sum(made) == count
    assert max(made) - min(made) <= 1


@pytest.mark.parametrize("first", [1, 5, 9, 16])
def test_a_stream_goes_on_at_any_step(snapshot: Snapshot, project: Project, first: int) -> None:
    assert taken(stream(snapshot, project), 2, first) == taken(stream(snapshot, project), 2)[first:]


def test_a_stream_goes_on_from_epoch_to_epoch_as_from_anywhere(snapshot: Snapshot, project: Project) -> None:
    feed = stream(snapshot, project)
    wanted = [taken(stream(snapshot, project), epoch) for epoch in range(6)]
    assert feed._source.plan.epochs == 4
    assert [taken(feed, epoch) for epoch in range(6)] == wanted  # also beyond the plan's end
    assert [taken(feed, epoch) for epoch in (1, 2, 0, 1)] == [wanted[1], wanted[2], wanted[0], wanted[1]]
    shares = feed.shares(2, 0)
    next(shares)
    shares.close()  # left within the epoch, as where the loss is no number
    assert taken(feed, 2) == wanted[2]
    assert taken(feed, 3, 4) == wanted[3][4:]


def test_the_next_epoch_s_first_window_is_read_before_it_is_asked_for(snapshot: Snapshot, project: Project) -> None:
    feed = stream(snapshot, project)
    taken(feed, 0)
    assert feed._running is not None
    made = feed._running[1]._made
    deadline_s = time.monotonic() + 30
    while made.empty() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert made.full()
    feed.close()
    assert taken(feed, 1) == taken(stream(snapshot, project), 1)


def test_a_thread_that_is_left_reads_on_without_harm(
    snapshot: Snapshot, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held within its first row group while the next thread reads both files to their ends."""
    wanted, feed = taken(stream(snapshot, project), 1), stream(snapshot, project)
    is_held, may_go, choose = threading.Event(), threading.Event(), PartReader.choose
    left: list[PartReader] = []

    def held(reader: PartReader, group: RowGroup, columns: list[str]) -> Chosen:
        if not left:
            left.append(reader)
            is_held.set()
            assert may_go.wait(30)
        return choose(reader, group, columns)

    monkeypatch.setattr(PartReader, "choose", held)
    feed._begin(0, 0)
    assert is_held.wait(30)
    feed.close()
    assert taken(feed, 1) == wanted
    assert feed._source.reader is not left[0]
    assert left[0]._file is None
    may_go.set()


def test_a_stream_trains(snapshot: Snapshot, project: Project) -> None:
    plan = Plan.of(project, {"batch_size": BATCH})
    assert plan.input == "stream"
    schema = fit_schema(part_tables(snapshot, project)["train"], project)
    training = Training(TASK, build_module(TASK, schema, plan), plan, Place())
    losses = [training.run_epoch(stream(snapshot, project)) for _ in range(3)]
    assert losses[-1] < losses[0] / 2


def test_an_error_of_the_reading_thread_is_the_training_s(snapshot: Snapshot, project: Project) -> None:
    feed = stream(snapshot, project)
    for file in snapshot.manifest.files:
        path = Path(snapshot.store.path(file.object_name))
        path.chmod(0o644)
        path.unlink()
    with pytest.raises(Exception, match="not in the store"):
        taken(feed)


def _seed(epoch: int) -> Any:
    from rayloop.jobs.training.loop import mix

    return mix(5, epoch)
