"""The epoch loop learns, counts each row once, goes on bit for bit where it stopped, and parts over ranks."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rayloop.jobs.training import loop
from rayloop.jobs.training.data import Rows
from rayloop.jobs.training.loop import Place, Plan, Training, TrainingDiverged, build_module, measure, mix
from rayloop.platform.model.task import Batch, Inputs, find_task
from sklearn import metrics as sk
from torch import Tensor, nn

TASK = find_task("tabular")
PRECISIONS = ("fp32", "bf16")


class Recorder:
    """A task with one weight that learns nothing, and remembers each batch; `bad_calls` give NaN."""

    def __init__(self, bad_calls: frozenset[int] = frozenset()) -> None:
        self.batches: list[list[float]] = []
        self._bad_calls = bad_calls

    def build(self, schema: Any, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def encode(self, schema: Any, columns: Any) -> dict[str, Tensor]:
        raise NotImplementedError

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        self.batches.append(batch.target.tolist())
        value = math.nan if len(self.batches) in self._bad_calls else 0.0
        return batch.target.mean() + value + 0.0 * module(batch.inputs["x"]).sum()

    def predict(self, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        return {"prediction": inputs["x"].squeeze(1)}


def numbered(rows: int) -> Rows:
    """Rows whose target is their own number."""
    numbers = torch.arange(rows, dtype=torch.float32)
    return Rows({"x": numbers[:, None]}, numbers)


PLAN = Plan(
    epochs=3, batch_size=8, learning_rate=1e-9, weight_decay=0.0, precision="fp32", seed=0, metric="mae", params={}
)


def record(task: Recorder, plan: Plan = PLAN, place: Place | None = None) -> Training:
    return Training(task, build_module(task, None, plan), plan, place or Place())


def weights(training: Training) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in training.module.state_dict().items()}


def train(training: Training, rows: Rows, epochs: int) -> Training:
    """As a worker does: an epoch, its metrics, its line of the history."""
    for _ in range(epochs):
        metrics = {"train_loss": training.run_epoch(rows)}
        metrics |= training.evaluate(rows)
        training.history.append(metrics)
    return training


def assert_equal(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_separable_classes(make_toy: Any, classes: int, precision: str) -> None:
    toy = make_toy.make(300, classes=classes, train={"precision": precision})
    training = train(toy.training(), toy.rows, 4)
    losses = [metrics["train_loss"] for metrics in training.history]
    assert losses[-1] < losses[0] / 3
    assert training.history[-1]["accuracy"] > 0.97
    assert {tensor.dtype for tensor in weights(training).values()} <= {torch.float32, torch.int64}


def test_bf16_computes_otherwise_than_fp32(make_toy: Any) -> None:
    toy = make_toy.make()
    exact, short = (train(toy.training(replace(Plan.of(toy.project), precision=p)), toy.rows, 1) for p in PRECISIONS)
    assert exact.history[0]["train_loss"] != short.history[0]["train_loss"]
    assert exact.history[0]["train_loss"] == pytest.approx(short.history[0]["train_loss"], rel=0.05)


def test_it_learns_a_number_in_its_own_unit(make_toy: Any) -> None:
    toy = make_toy.make(400, kind="regression", params={"hidden": [32, 16]})
    training = train(toy.training(), toy.rows, 15)
    assert training.history[-1]["rmse"] < 0.25 * float(np.std(toy.table.column("y").to_numpy()))
    assert training.history[-1]["r2"] > 0.93


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 31])
def test_every_row_counts_once_in_an_epoch_also_in_a_short_last_batch(rows: int) -> None:
    task = Recorder()
    mean = record(task).run_epoch(numbered(rows))
    assert sorted(number for batch in task.batches for number in batch) == list(range(rows))
    assert [len(batch) for batch in task.batches] == [8] * (rows // 8) + [rows % 8] * bool(rows % 8)
    assert mean == pytest.approx((rows - 1) / 2, rel=1e-6)


@pytest.mark.parametrize("rows", [16, 17, 19])
def test_ranks_share_the_rows_of_each_batch_and_weigh_them(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ranks give, averaged as data parallelism does, is the mean over all rows."""
    world, totals = 3, []
    monkeypatch.setattr(loop.dist, "all_reduce", lambda total: totals.append(float(total)))
    monkeypatch.setattr(loop, "_least", lambda number, place: number)
    tasks = [Recorder() for _ in range(world)]
    for rank, task in enumerate(tasks):
        record(task, place=Place(rank, world)).run_epoch(numbered(rows))
    assert sum(totals) / world / rows == pytest.approx((rows - 1) / 2, rel=1e-6)
    alone = Recorder()
    record(alone).run_epoch(numbered(rows))
    for step, whole in enumerate(alone.batches):
        parts = [task.batches[step] for task in tasks]
        assert {number for part in parts for number in part} == set(whole)
        assert len({len(task.batches) for task in tasks}) == 1  # all take part in each step


def test_each_epoch_has_an_order_of_its_own_that_the_seed_decides() -> None:
    def orders(seed: int) -> list[list[float]]:
        task = Recorder()
        training = record(task, replace(PLAN, batch_size=100, seed=seed))
        for _ in range(2):
            training.run_epoch(numbered(50))
        return task.batches

    first, second = orders(0)
    assert first != second
    assert orders(0) == [first, second]
    assert orders(1)[0] != first


TWO_RANKS = """
import json, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from rayloop.jobs.training.data import Rows
from rayloop.jobs.training.loop import Place, Plan, Training, TrainingDiverged, build_module
from rayloop.jobs.training.parallel import release
from rayloop.platform.model.schema import Schema
from rayloop.platform.model.task import find_task

folder, rank = sys.argv[1], int(sys.argv[2])
given = torch.load(f"{folder}/given.pt", weights_only=True)
plan, schema, task = Plan(**given["plan"]), Schema.from_dict(json.loads(given["schema"])), find_task("tabular")
torch.use_deterministic_algorithms(True)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
module = DistributedDataParallel(build_module(task, schema, plan))
training = Training(task, module, plan, Place(rank, 2))
rows = Rows(given["inputs"], given["target"])
losses = [training.run_epoch(rows) for _ in range(plan.epochs)]
torch.save({"module": training.state()["module"], "losses": losses}, f"{folder}/rank{rank}.pt")
bad = 3 if rank else 99  # the loss of this rank alone is no number, and the other one hears of it in its weights
honest, steps = task.loss, []
task.loss = lambda *given: honest(*given) * (float("nan") if len(steps.append(1) or steps) >= bad else 1.0)
try:
    training.run_epoch(rows)
except TrainingDiverged as error:
    print(error.epoch, error.step)
release(module)
dist.destroy_process_group()
"""


def test_two_ranks_train_the_same_weights_as_one_and_diverge_in_the_same_step(make_toy: Any, tmp_path: Path) -> None:
    toy = make_toy.make(97, train={"epochs": 1})  # the last batch has one row: none for rank 1
    plan = Plan.of(toy.project)
    shared = {"plan": {name: getattr(plan, name) for name in plan.__slots__}}
    shared |= {"schema": json.dumps(toy.schema.to_dict()), "inputs": dict(toy.rows.inputs), "target": toy.rows.target}
    torch.save(shared, tmp_path / "given.pt")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_RANKS, str(tmp_path), str(rank)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        told, said = rank.communicate(timeout=60)
        assert rank.returncode == 0, said
        assert told == "2 3\n"  # both name the epoch and the step of the first loss that was no number
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert_equal(first["module"], second["module"])
    alone = toy.training()
    assert first["losses"] == second["losses"] == pytest.approx([alone.run_epoch(toy.rows)], abs=1e-6)
    for name, tensor in weights(alone).items():
        assert torch.allclose(first["module"][name], tensor, rtol=0, atol=1e-6), name


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_training_goes_on_bit_for_bit_where_it_stopped(make_toy: Any, stop_after: int) -> None:
    toy = make_toy.make(150, params={"dropout": 0.4})
    undisturbed = train(toy.training(), toy.rows, 5)
    stopped = train(toy.training(), toy.rows, stop_after)
    kept = io.BytesIO()
    torch.save(stopped.state(), kept)
    torch.manual_seed(123)  # another process has drawn other numbers
    resumed = toy.training()
    resumed.restore(torch.load(io.BytesIO(kept.getvalue()), weights_only=True))
    assert resumed.epoch == stop_after
    train(resumed, toy.rows, 5 - stop_after)
    assert resumed.history == undisturbed.history
    assert resumed.best_score == undisturbed.best_score
    assert_equal(weights(resumed), weights(undisturbed))
    assert_equal(resumed.best_weights(), undisturbed.best_weights())


def test_what_happens_after_a_state_was_saved_does_not_change_its_history(make_toy: Any) -> None:
    toy = make_toy.make()
    training = train(toy.training(), toy.rows, 1)
    resumed = toy.training()
    resumed.restore(training.state())
    train(training, toy.rows, 1)
    assert len(resumed.history) == 1


def test_dropout_is_on_in_training_and_off_in_measuring(make_toy: Any) -> None:
    toy = make_toy.make(params={"dropout": 0.5})
    training = train(toy.training(), toy.rows, 1)
    assert measure(TASK, training.module, toy.rows) == measure(TASK, training.module, toy.rows)
    without = train(toy.training(Plan.of(toy.project, {"dropout": 0.0})), toy.rows, 1)
    assert training.history[0]["train_loss"] != without.history[0]["train_loss"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_best_weights_are_those_of_the_best_evaluation(make_toy: Any, metric: str) -> None:
    toy = make_toy.make(validate={"metric": metric})
    training = toy.training()
    training.evaluate(toy.rows)
    train(training, toy.rows, 3)
    best, score = weights(training), training.history[-1][metric]
    assert training.best_score == score
    with torch.no_grad():
        for tensor in training.module.parameters():
            tensor.mul_(-1)
    assert training.evaluate(toy.rows)[metric] != score
    assert training.best_score == score
    assert_equal(training.best_weights(), best)


def test_without_any_evaluation_the_latest_weights_count(make_toy: Any) -> None:
    training = make_toy.make().training()
    assert_equal(training.best_weights(), weights(training))


def test_an_undefined_metric_keeps_the_first_weights_rather_than_none(make_toy: Any) -> None:
    toy = make_toy.make(validate={"metric": "auc"})
    places = torch.nonzero(toy.rows.target == 0).squeeze(1)
    batch = toy.rows.take(places)
    one_class = Rows(batch.inputs, batch.target)
    training = toy.training()
    first = weights(training)
    assert "auc" not in training.evaluate(one_class)
    training.run_epoch(toy.rows)
    training.evaluate(one_class)
    assert_equal(training.best_weights(), first)
    training.evaluate(toy.rows)  # a defined one wins
    assert_equal(training.best_weights(), weights(training))


@pytest.mark.parametrize(
    ("bad_call", "epoch", "step"),
    [
        (1, 1, 1),
        (2, 1, 2),  # losses are looked at together, and the step is the right one
        (4 + 1, 2, 1),
    ],
)
def test_a_loss_that_is_no_number_ends_the_training(bad_call: int, epoch: int, step: int) -> None:
    training = record(Recorder(frozenset({bad_call})))
    for _ in range(epoch - 1):
        training.run_epoch(numbered(31))
    with pytest.raises(TrainingDiverged) as raised:
        training.run_epoch(numbered(31))
    assert (raised.value.epoch, raised.value.step) == (epoch, step)
    assert f"epoch {epoch}, step {step}" in str(raised.value)
    assert training.epoch == epoch - 1
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_plan_takes_the_search_s_choices_and_leaves_the_rest_to_the_task(make_toy: Any) -> None:
    project = make_toy.make(params={"dropout": 0.1}, train={"seed": 5, "precision": "bf16"}).project
    plain = Plan.of(project)
    assert (plain.epochs, plain.batch_size, plain.learning_rate, plain.seed) == (4, 16, 0.02, 5)
    assert (plain.precision, plain.metric) == ("bf16", "accuracy")
    own = {"numbers": "standard", "embedding": 8}  # of the toy itself
    assert plain.params == {**own, "hidden": [16], "dropout": 0.1}
    given = {"epochs": 9, "batch_size": 3, "learning_rate": 1.0, "weight_decay": 0.5, "dropout": 0.3, "embedding": 2}
    chosen = Plan.of(project, given)
    assert (chosen.epochs, chosen.batch_size, chosen.learning_rate, chosen.weight_decay) == (9, 3, 1.0, 0.5)
    assert chosen.params == {**own, "hidden": [16], "dropout": 0.3, "embedding": 2}
    assert Plan.of(project) == plain
    assert project.task.params == {**own, "hidden": [16], "dropout": 0.1}


def test_equal_seeds_give_equal_modules_and_others_give_others(make_toy: Any) -> None:
    toy = make_toy.make()
    plan = Plan.of(toy.project)
    first, again = (build_module(TASK, toy.schema, plan).state_dict() for _ in range(2))
    assert_equal(first, again)
    other = build_module(TASK, toy.schema, replace(plan, seed=1)).state_dict()
    assert not torch.equal(other["layers.0.weight"], first["layers.0.weight"])


def test_seeds_that_are_near_give_numbers_that_are_not() -> None:
    mixed = {mix(seed, epoch, rank) for seed in range(10) for epoch in range(10) for rank in range(10)}
    assert len(mixed) == 1000
    assert all(0 <= number < 1 << 63 for number in mixed)
    assert mix(1, 0) != mix(0, 1)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("at_once", [1, 7, 65_536])
def test_class_metrics_are_those_of_scikit_learn(
    make_toy: Any, classes: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PREDICT_ROWS", at_once)
    toy = make_toy.make(60, classes=classes)
    module = train(toy.training(), toy.rows, 1).module
    found = measure(TASK, module, toy.rows)
    assert module.training
    module.eval()
    with torch.inference_mode():
        probabilities = TASK.predict(module, toy.rows.inputs)["probabilities"].numpy().astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    target, predicted = toy.rows.target.numpy(), probabilities.argmax(axis=1)
    average = "binary" if classes == 2 else "macro"
    scores = probabilities[:, 1] if classes == 2 else probabilities
    wanted = {
        "accuracy": sk.accuracy_score(target, predicted),
        "precision": sk.precision_score(target, predicted, average=average),
        "recall": sk.recall_score(target, predicted, average=average),
        "f1": sk.f1_score(target, predicted, average=average),
        "auc": sk.roc_auc_score(target, scores, multi_class="ovr"),
        "log_loss": sk.log_loss(target, probabilities),
    }
    assert found == pytest.approx(wanted | {"loss": wanted["log_loss"]}, rel=1e-5)


def test_number_metrics_are_those_of_scikit_learn(make_toy: Any) -> None:
    toy = make_toy.make(80, kind="regression")
    module = train(toy.training(), toy.rows, 1).module
    found = measure(TASK, module, toy.rows)
    module.eval()
    with torch.inference_mode():
        predicted = TASK.predict(module, toy.rows.inputs)["prediction"].numpy()
    target = toy.table.column("y").to_numpy()
    mse = sk.mean_squared_error(target, predicted)
    wanted = {"mae": sk.mean_absolute_error(target, predicted), "mse": mse, "rmse": math.sqrt(mse)}
    wanted |= {"r2": sk.r2_score(target, predicted), "loss": mse / float(np.var(target))}
    assert found == pytest.approx(wanted, rel=1e-4)
