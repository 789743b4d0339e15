"""Owns what a module's scores mean: chances of classes or labels, values, quantiles; their loss and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from .options import Options
from .target import Target, quantile_levels
from .task import Batch, Inputs

# N = rows, K = classes or labels, S = steps, Q = quantile levels


class Objective(nn.Module):
    """Turns scores (N, width) into a loss and into answers; it scales values, and learns nothing itself."""

    mean: Tensor
    std: Tensor
    levels: Tensor

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.kind = "labels" if target.is_multilabel else "classes" if target.classes else "values"
        self.steps, self.num_levels = target.steps, len(target.quantiles)
        self.width = len(target.classes) or target.steps * max(1, self.num_levels)
        self.register_buffer("mean", torch.tensor(target.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(target.std, dtype=torch.float32))
        self.register_buffer("levels", torch.tensor(target.quantiles, dtype=torch.float32))
        # The level nearest to one half stands for the prediction.
        self.middle = min(range(self.num_levels), key=lambda q: abs(target.quantiles[q] - 0.5), default=0)

    def loss(self, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean over the rows, each by its weight: cross-entropy in nats, or squared or pinball error in deviations.

        Values that are NaN, as steps ahead that a series does not reach, count nothing.
        """
        scores = scores.float()
        if self.kind == "classes":
            loss_N = functional.cross_entropy(scores, target, reduction="none")
        elif self.kind == "labels":
            loss_N = functional.binary_cross_entropy_with_logits(scores, target, reduction="none").mean(dim=1)
        else:
            loss_N = self._values_loss(scores, target.reshape(-1, self.steps))
        return loss_N.mean() if weight is None else (loss_N * weight).mean()

    def answers(self, scores: Tensor) -> dict[str, Tensor]:
        """`probabilities` (N, K), or `prediction` (N,) or (N, S) in the target's own unit, `quantiles` (N, S * Q)."""
        scores = scores.float()
        if self.kind == "classes":
            return {"probabilities": torch.softmax(scores, dim=1)}
        if self.kind == "labels":
            return {"probabilities": torch.sigmoid(scores)}
        if not self.num_levels:
            values = scores * self.std + self.mean
            return {"prediction": values.squeeze(1) if self.steps == 1 else values}
        values_NSQ = self._ascending(scores) * self.std + self.mean
        middle_NS = values_NSQ[:, :, self.middle]
        prediction = middle_NS.squeeze(1) if self.steps == 1 else middle_NS
        return {"prediction": prediction, "quantiles": values_NSQ.flatten(1)}

    def _values_loss(self, scores: Tensor, target_NS: Tensor) -> Tensor:
        scaled_NS = (target_NS - self.mean) / self.std
        known_NS = torch.isfinite(scaled_NS)
        scaled_NS = torch.where(known_NS, scaled_NS, 0.0)
        if self.num_levels:
            missed_NSQ = scaled_NS.unsqueeze(2) - self._ascending(scores)
            loss_NS = torch.maximum(self.levels * missed_NSQ, (self.levels - 1) * missed_NSQ).mean(dim=2)
        else:
            loss_NS = (scores - scaled_NS).square()
        # Divided by all steps and not by the known ones: every row of a batch then has a share that is fixed.
        return torch.where(known_NS, loss_NS, 0.0).mean(dim=1)

    def _ascending(self, scores: Tensor) -> Tensor:
        """Quantiles (N, S, Q) that can't cross: the lowest, and what each lies above the one before it."""
        scores_NSQ = scores.reshape(-1, self.steps, self.num_levels)
        first, rest = scores_NSQ[:, :, :1], functional.softplus(scores_NSQ[:, :, 1:])
        return torch.cumsum(torch.cat([first, rest], dim=2), dim=2)


class ScoringTask:
    """What the built-in tasks share: a module that gives scores, and holds an `objective` that says what they mean."""

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """See `Objective.loss`."""
        return objective_of(module).loss(module(batch.inputs), batch.target, batch.weight)

    def predict(self, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """See `Objective.answers`."""
        return objective_of(module).answers(module(inputs))


def objective_of(module: nn.Module) -> Objective:
    """The objective of a module, also of one inside DistributedDataParallel."""
    inner = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
    objective = inner.objective
    assert isinstance(objective, Objective)
    return objective


def checked_options(task: str, defaults: Mapping[str, Any], given: Mapping[str, Any], target: Target) -> Options:
    """The parameters of a built-in task; `quantiles` belong to the target, which training rows were fitted with."""
    options = Options(task, {**defaults, "quantiles": ()}, given)
    if quantile_levels(options["quantiles"]) != target.quantiles:
        raise InvalidInput("task.params.quantiles can't be searched: set it in task.params alone")
    return options
