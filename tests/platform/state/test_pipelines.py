"""A project has one open run, and a step is written down once however often it is begun."""

from __future__ import annotations

import threading
import time

import pytest
from rayloop.platform.errors import Conflict, NotFound
from rayloop.platform.state import Database, Ledger, Pipelines
from rayloop.platform.state import pipelines as module
from rayloop.platform.state.pipelines import ENDED


@pytest.fixture
def pipelines(database: Database) -> Pipelines:
    return Pipelines(database)


class Clock:
    """A `time` whose seconds pass when told."""

    def __init__(self) -> None:
        self.now_s = 1_767_268_800.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_a_run_is_created_pending(pipelines: Pipelines, database: Database, clock: Clock) -> None:
    run = pipelines.create("churn", "drift", "psi 0.3")
    assert run == pipelines.get(run.id)
    assert (run.project, run.trigger, run.reason, run.state, run.attempts) == (
        "churn",
        "drift",
        "psi 0.3",
        "pending",
        0,
    )
    assert run.created_s == run.updated_s == clock.now_s
    assert not run.has_ended
    (entry,) = Ledger(database).entries()
    assert (entry.action, entry.subject, entry.detail) == ("trigger", run.id, {"trigger": "drift", "reason": "psi 0.3"})


@pytest.mark.parametrize("state", ["pending", "running"])
def test_one_run_of_a_project_is_open(pipelines: Pipelines, state: str) -> None:
    run = pipelines.create("churn", "manual", "")
    pipelines.set_state(run.id, state)
    with pytest.raises(Conflict, match=f"project 'churn' has an open pipeline run already: {run.id}"):
        pipelines.create("churn", "drift", "")
    assert pipelines.create("fraud", "drift", "").project == "fraud"


@pytest.mark.parametrize("state", sorted(ENDED))
def test_after_the_end_of_one_comes_the_next(pipelines: Pipelines, state: str) -> None:
    run = pipelines.create("churn", "manual", "")
    pipelines.set_state(run.id, state)
    assert pipelines.get(run.id).has_ended
    assert pipelines.create("churn", "drift", "").id != run.id


def test_of_many_at_once_one_is_created(pipelines: Pipelines) -> None:
    barrier, found = threading.Barrier(4), []

    def create() -> None:
        barrier.wait()
        try:
            found.append(pipelines.create("churn", "manual", "").state)
        except Conflict:
            found.append("conflict")

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["conflict", "conflict", "conflict", "pending"]
    assert len(pipelines.runs("churn")) == 1


def test_a_project_cools_down_after_the_end(pipelines: Pipelines, clock: Clock) -> None:
    run = pipelines.create("churn", "manual", "")
    clock.now_s += 1000
    pipelines.set_state(run.id, "promoted")
    clock.now_s += 40
    with pytest.raises(Conflict, match=f"project 'churn' cools down for 60 s after pipeline run {run.id}"):
        pipelines.create("churn", "drift", "", cooldown_s=100)
    clock.now_s += 60
    assert pipelines.create("churn", "drift", "", cooldown_s=100).state == "pending"


def test_states_and_attempts_are_counted_and_recorded(pipelines: Pipelines, database: Database, clock: Clock) -> None:
    run = pipelines.create("churn", "manual", "")
    clock.now_s += 5
    pipelines.set_state(run.id, "running", attempt=True, reason="started")
    pipelines.set_state(run.id, "running", attempt=True)
    pipelines.set_state(run.id, "rejected", reason="gate")
    found = pipelines.get(run.id)
    assert (found.state, found.attempts, found.created_s, found.updated_s) == (
        "rejected",
        2,
        clock.now_s - 5,
        clock.now_s,
    )
    entries = Ledger(database).entries()
    assert [entry.detail for entry in entries if entry.action == "pipeline"] == [
        {"state": "running", "reason": "started"},
        {"state": "running", "reason": ""},
        {"state": "rejected", "reason": "gate"},
    ]


def test_an_unknown_run_is_named(pipelines: Pipelines, database: Database) -> None:
    with pytest.raises(NotFound, match="no pipeline run 'x-1' is known here"):
        pipelines.get("x-1")
    with pytest.raises(NotFound, match="no pipeline run 'x-1' is known here"):
        pipelines.set_state("x-1", "failed")
    assert Ledger(database).entries() == []


def test_runs_are_listed_oldest_first_and_by_state(pipelines: Pipelines, clock: Clock) -> None:
    ids = []
    for place in range(3):
        clock.now_s += 1
        run = pipelines.create("churn", "manual", str(place))
        pipelines.set_state(run.id, "failed" if place < 2 else "running")
        ids.append(run.id)
    clock.now_s += 1
    other = pipelines.create("fraud", "manual", "")
    assert [run.id for run in pipelines.runs()] == [*ids, other.id]
    assert [run.id for run in pipelines.runs("churn")] == ids
    assert [run.id for run in pipelines.runs("churn", "failed")] == ids[:2]
    assert [run.id for run in pipelines.runs(state="pending")] == [other.id]


def test_a_step_is_begun_once_and_keeps_its_output(pipelines: Pipelines, clock: Clock) -> None:
    run = pipelines.create("churn", "manual", "")
    assert pipelines.begin_step(run.id, "snapshot", 0) is None
    begun_s = clock.now_s
    clock.now_s += 10
    again = pipelines.begin_step(run.id, "snapshot", 0)
    assert again is not None
    assert (again.name, again.output, again.started_s, again.ended_s) == ("snapshot", {}, begun_s, None)
    pipelines.end_step(run.id, "snapshot", {"digest": "abc"})
    clock.now_s += 10
    ended = pipelines.begin_step(run.id, "snapshot", 0)
    assert ended is not None
    assert (ended.output, ended.started_s, ended.ended_s) == ({"digest": "abc"}, begun_s, begun_s + 10)
    assert pipelines.steps(run.id) == [ended]


def test_steps_come_in_their_order_and_by_run(pipelines: Pipelines) -> None:
    first = pipelines.create("churn", "manual", "")
    second = pipelines.create("fraud", "manual", "")
    for name, position in (("train", 1), ("snapshot", 0), ("evaluate", 2)):
        pipelines.begin_step(first.id, name, position)
    assert pipelines.begin_step(second.id, "train", 1) is None
    pipelines.end_step(second.id, "train", {"version": 3})
    assert [step.name for step in pipelines.steps(first.id)] == ["snapshot", "train", "evaluate"]
    assert [step.ended_s for step in pipelines.steps(first.id)] == [None] * 3
    assert [step.output for step in pipelines.steps(second.id)] == [{"version": 3}]


def test_times_are_now(pipelines: Pipelines) -> None:
    before_s = time.time()
    assert before_s <= pipelines.create("churn", "manual", "").created_s <= time.time()
