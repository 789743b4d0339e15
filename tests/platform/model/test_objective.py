"""What scores mean: losses by hand, quantiles that can't cross, values that are missing, weights that count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rayloop.platform.model.objective import Objective
from rayloop.platform.model.target import Target
from rayloop.platform.model.weights import balanced_weights

NUMBER = Target("y", "FP64", mean=10.0, std=2.0)
LEVELS = (0.1, 0.5, 0.9)
NAN = math.nan


def test_the_loss_of_labels_is_their_mean_cross_entropy() -> None:
    objective = Objective(Target("y", "BOOL", ("a", "b"), is_multilabel=True))
    scores, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    assert objective.loss(scores, target).item() == pytest.approx((math.log(2) + math.log(1 + math.exp(2))) / 2)
    assert objective.answers(scores)["probabilities"].tolist() == [[0.5, pytest.approx(1 / (1 + math.exp(-2)))]]


def test_the_pinball_loss_by_hand() -> None:
    objective = Objective(Target("y", "FP64", mean=10.0, std=2.0, quantiles=(0.1, 0.9)))
    scores = torch.tensor([[0.0, math.log(math.e - 1)]])  # softplus gives 1: the quantiles are 10 and 12
    assert objective.answers(scores)["quantiles"].tolist() == [[10.0, pytest.approx(12.0)]]
    # The target 14 lies 2 and 1 deviations above them.
    assert objective.loss(scores, torch.tensor([14.0])).item() == pytest.approx((0.1 * 2 + 0.9 * 1) / 2)
    assert objective.loss(scores, torch.tensor([8.0])).item() == pytest.approx((0.9 * 1 + 0.1 * 2) / 2)


def test_quantiles_never_cross_and_the_middle_one_is_the_prediction() -> None:
    objective = Objective(Target("y", "FP64", quantiles=LEVELS, steps=4))
    scores = 50 * torch.randn(200, objective.width, generator=torch.Generator().manual_seed(0))
    answers = objective.answers(scores)
    quantiles = answers["quantiles"].reshape(200, 4, 3)
    assert bool((quantiles.diff(dim=2) >= 0).all())
    assert torch.equal(answers["prediction"], quantiles[:, :, 1])


def test_learnt_quantiles_are_those_of_the_rows() -> None:
    objective = Objective(Target("y", "FP64", quantiles=LEVELS))
    target = torch.from_numpy(np.random.default_rng(0).normal(size=4_000).astype(np.float32))
    scores = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        objective.loss(scores.expand(len(target), -1), target).backward()
        optimizer.step()
    found = objective.answers(scores)["quantiles"][0].tolist()
    assert found == pytest.approx(np.quantile(target.numpy(), LEVELS).tolist(), abs=0.05)


def test_a_missing_step_counts_nothing_and_has_no_gradient() -> None:
    objective = Objective(Target("y", "FP64", steps=2))
    scores = torch.tensor([[1.0, 5.0]], requires_grad=True)
    loss = objective.loss(scores, torch.tensor([[3.0, NAN]]))
    loss.backward()
    assert loss.item() == pytest.approx(4 / 2)
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-2.0, 0.0]]


def test_balanced_weights_let_each_class_count_alike() -> None:
    codes = torch.tensor([0, 0, 0, 0, 0, 1, 1, 3])
    weights = balanced_weights(codes, 5)
    assert weights.mean().item() == pytest.approx(1.0)
    sums = [weights[codes == code].sum().item() for code in (0, 1, 3)]
    assert sums == pytest.approx([8 / 3] * 3)
