"""What `train` can be told: optimizer, schedule, average, accumulation, early stopping; and what bad input ends in."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.jobs.training.admission import lacking, wait_for_resources
from rayloop.jobs.training.loop import OutOfMemory, Place, Plan, Training, TrainingDiverged, build_module
from rayloop.jobs.training.optimizer import PLATEAU_EPOCHS, rate_factor
from rayloop.jobs.training.parallel import _buffers_change, prepare_module
from rayloop.jobs.training.preparation import with_class_weights
from rayloop.jobs.training.reader import PartTable
from rayloop.jobs.training.run import Run, code_digest, fingerprint, raise_failure
from rayloop.jobs.training.suspects import suspects
from rayloop.platform.data import Store
from rayloop.platform.errors import Conflict, InvalidInput, Unavailable
from rayloop.platform.model.schema import fit_schema
from torch import Tensor, nn

from .conftest import build_project
from .test_loop import TASK, Recorder, assert_equal, numbered, record, train, weights

PLAN = Plan.of(build_project())


def test_the_learning_rate_rises_and_falls() -> None:
    def factors(schedule: str) -> list[float]:
        plan = replace(PLAN, schedule=schedule, warmup_steps=2)
        return [round(rate_factor(plan, step, 10), 4) for step in range(10)]

    assert factors("constant") == [0.5] + [1.0] * 9
    assert factors("linear") == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert factors("cosine")[2] == 1.0
    assert factors("cosine")[6] == 0.5
    assert 0 < factors("cosine")[-1] < 0.1


def test_a_plateau_halves_the_learning_rate(make_toy: Any) -> None:
    toy = make_toy.make(train={"schedule": "plateau", "learning_rate": 1e-12})
    training = toy.training()
    train(training, toy.rows, 1 + PLATEAU_EPOCHS)
    assert training.optimizer.plateau_factor == 0.5


@pytest.mark.parametrize("options", [{"optimizer": "sgd"}, {"clip_norm": 0.5}, {"precision": "fp16"}])
def test_each_option_learns_and_goes_on_where_it_stopped(make_toy: Any, options: dict[str, Any]) -> None:
    toy = make_toy.make(300, train=options)
    whole = train(toy.training(), toy.rows, 4)
    assert whole.history[-1]["accuracy"] > 0.9
    resumed = toy.training()
    resumed.restore(train(toy.training(), toy.rows, 2).state())
    assert_equal(weights(train(resumed, toy.rows, 2)), weights(whole))


def test_clipping_bounds_a_step(make_toy: Any) -> None:
    toy = make_toy.make(train={"optimizer": "sgd", "momentum": 0.0, "clip_norm": 1e-3, "learning_rate": 1.0})
    plan = replace(Plan.of(toy.project), weight_decay=0.0, batch_size=toy.rows.count)
    training = toy.training(plan)
    before = weights(training)
    training.run_epoch(toy.rows)
    moved = torch.cat([(tensor - before[name]).flatten() for name, tensor in weights(training).items()])
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("parts", [2, 3, 16, 50])
def test_a_step_in_parts_is_the_same_step(make_toy: Any, parts: int) -> None:
    toy = make_toy.make(90)
    plan = Plan.of(toy.project)
    whole, parted = toy.training(plan), toy.training(replace(plan, accumulate=parts))
    assert whole.run_epoch(toy.rows) == pytest.approx(parted.run_epoch(toy.rows), abs=1e-6)
    for name, tensor in weights(whole).items():
        assert torch.allclose(weights(parted)[name], tensor, rtol=0, atol=1e-5), name


def test_the_average_of_the_weights_is_what_is_validated_and_kept(make_toy: Any) -> None:
    toy = make_toy.make(train={"ema": 0.5})
    training = toy.training(replace(Plan.of(toy.project), batch_size=toy.rows.count))
    wanted = weights(training)
    for _ in range(3):
        training.run_epoch(toy.rows)
        live = weights(training)
        wanted = {name: wanted[name] + 0.5 * (live[name] - wanted[name]) for name in live}
    training.evaluate(toy.rows)
    assert_equal(weights(training), live)  # they were only lent
    for name, tensor in training.best_weights().items():
        assert torch.allclose(tensor, wanted[name].to(tensor.dtype), atol=1e-6), name


def test_balanced_classes_count_alike(make_toy: Any) -> None:
    toy = make_toy.make(120)
    target = toy.rows.target
    batch = toy.rows.slice(0, 120)
    project = toy.project.model_copy(
        update={"train": toy.project.train.model_copy(update={"class_weights": "balanced"})}
    )
    plan = with_class_weights(Plan.of(project), project, toy.schema, PartTable(toy.table))
    counts = torch.bincount(target).float()
    assert torch.allclose(torch.tensor(plan.weights_by_class) * counts, torch.full((2,), 60.0))
    training = Training(TASK, build_module(TASK, toy.schema, plan), plan, Place())
    by_row = torch.nn.functional.cross_entropy(training.module(batch.inputs), target, reduction="none")
    wanted = (by_row * torch.tensor(plan.weights_by_class)[target]).mean()
    assert torch.allclose(training._weighed(batch, 120, 120), wanted)
    assert (
        with_class_weights(Plan.of(toy.project), toy.project, toy.schema, PartTable(toy.table)).weights_by_class == ()
    )


def test_the_patience_ends_a_training(make_toy: Any) -> None:
    toy = make_toy.make(train={"learning_rate": 1e-12, "early_stopping": {"patience": 2, "min_delta": 0.5}})
    training = toy.training()
    ended = []
    for _ in range(3):
        train(training, toy.rows, 1)
        ended.append(training.has_ended)
    assert ended == [False, False, True]
    resumed = toy.training()
    resumed.restore(training.state())
    assert resumed.has_ended


class Greedy(Recorder):
    """Has memory for four rows."""

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        if len(batch.target) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(module, batch)


def test_a_step_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match=r"8 rows at once, in epoch 1, step 1: raise train\.accumulate") as raised:
        record(Greedy()).run_epoch(numbered(16))
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_step_that_does_not_fit_may_be_computed_in_parts() -> None:
    task, said = Greedy(), []
    training = record(task, replace(PLAN, batch_size=16, metric="mae", allow_smaller_batch=True))
    training._say = said.append
    training.run_epoch(numbered(32))
    assert sorted(number for batch in task.batches for number in batch) == list(range(32))
    assert training.accumulate == 4
    assert said == [
        "memory does not suffice for 16 rows at once: going on with 8",
        "memory does not suffice for 8 rows at once: going on with 4",
    ]
    assert training.state()["accumulate"] == 4


def test_the_columns_that_a_loss_may_have_diverged_by_are_named() -> None:
    numbers = np.ones(100)
    table = pa.table(
        {
            "id": range(100),
            "calm": numbers,
            "a": np.where(np.arange(100) == 7, np.inf, numbers),
            "b": np.where(np.arange(100) == 8, 1e12, numbers),
            "color": ["red"] * 100,
            "y": [0, 1] * 50,
        }
    )
    found = suspects(fit_schema(table, build_project()), [table])
    assert found == "the columns 'a' (1 infinite in 32 bits), 'b' (up to 1e+12, but 1 in the middle)"
    assert "mend the columns 'a'" in str(TrainingDiverged(1, 2, found))
    calm = table.select(["id", "calm", "color", "y"])
    assert suspects(fit_schema(calm, build_project()), [calm]) == ""


class Counting(nn.Module):
    """A buffer that training changes, or does not."""

    seen: Tensor

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step
        self.register_buffer("seen", torch.zeros(1))
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        if self.training:
            self.seen += self.step
        found: Tensor = self.layer(inputs)
        return found


@pytest.mark.parametrize("step", [0, 1])
def test_buffers_are_sent_only_where_they_change(step: int) -> None:
    module = Counting(step)
    assert _buffers_change(Recorder(), module, numbered(2).slice(0, 2)) is bool(step)
    assert module.seen.tolist() == [0]


def test_checkpointing_of_activations_needs_a_module_that_offers_it(make_toy: Any) -> None:
    toy = make_toy.make(train={"activation_checkpointing": True})
    plan, place = Plan.of(toy.project), toy.training()._place
    with pytest.raises(InvalidInput, match="neither enable_activation_checkpointing"):
        prepare_module(TASK, toy.training().module, plan, place, toy.rows.slice(0, 2))

    class Offers(nn.Linear):
        is_on = False

        def enable_activation_checkpointing(self) -> None:
            self.is_on = True

    module, _ = prepare_module(TASK, Offers(1, 1), plan, place, toy.rows.slice(0, 2))
    assert module.is_on


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_a_key_belongs_to_what_its_run_was_started_with(known: Any, store: Store, make_toy: Any) -> None:
    schema, plan = make_toy.make().schema, Plan.of(known.project)

    def begin(plan: Plan) -> None:
        Run(store, "k").begin(fingerprint(known.project, plan, schema, known.snapshot, known.source.parent))

    begin(plan)
    begin(replace(plan, allow_smaller_batch=True))  # decides no number
    with pytest.raises(Conflict, match=r"run 'k' was started with train\.learning_rate = 0\.02, which is 0\.5 now"):
        begin(replace(plan, learning_rate=0.5))
    with pytest.raises(Conflict, match=r"task\.params"):
        begin(replace(plan, params={"hidden": [1]}))


def test_the_code_of_a_task_is_part_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("A = 1\n")
    first = code_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("no code")
    assert code_digest(tmp_path) == first
    (tmp_path / "mine.py").write_text("A = 2\n")
    assert code_digest(tmp_path) != first


def test_a_fault_that_every_try_would_meet_is_kept_for_the_next(store: Store) -> None:
    run = Run(store, "k")
    raise_failure(run.failure())
    run.fail(Unavailable("the store is away"))  # may be better the next time
    assert run.failure() == {}
    run.fail(TrainingDiverged(3, 4, "the columns 'a'"))
    with pytest.raises(TrainingDiverged, match=r"epoch 3, step 4: .* mend the columns 'a'"):
        raise_failure(run.failure())
    run.forget_failure()
    assert run.failure() == {}
    assert run.accumulate() == 1
    run.set_accumulate(4)
    assert Run(store, "k").accumulate() == 4


def test_resources_that_are_busy_are_waited_for_and_those_that_are_not_there_are_not() -> None:
    project = build_project(train={"workers": 2})
    now, said = [0.0], []

    def wait(everything: float, free: list[float], minutes: float | None = None) -> None:
        given = project.train.model_copy(update={"queue_minutes": minutes})
        asked = project.model_copy(update={"train": given})
        left = iter(free)
        last = [0.0]

        def current() -> dict[str, float]:
            last[0] = next(left, last[0])
            return {"CPU": last[0]}

        def sleep(seconds: float) -> None:
            now[0] += seconds

        wait_for_resources(asked, lambda: {"CPU": everything}, current, said.append, lambda: now[0], sleep)

    wait(2, [0, 1, 2])
    assert said == ["waiting for resources: others use what train.workers need"]
    with pytest.raises(Unavailable, match="need 2 CPUs, but the cluster has 1"):
        wait(1, [1])
    now[0] = 0
    with pytest.raises(Unavailable, match=r"after 3 minutes \(train\.queue_minutes\): train\.workers 2"):
        wait(1, [1], minutes=3)
    assert 180 <= now[0] < 182
    elastic = build_project(train={"workers": {"min": 1, "max": 8}})
    assert lacking(elastic, {"CPU": 1}) == ""
