"""The built-in task for time series: from a window of the last values to the next ones, all steps at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from . import series
from .objective import Objective, ScoringTask, checked_options
from .schema import Schema
from .signature import Columns
from .task import Inputs

PARAMS: Mapping[str, Any] = {**series.PARAMS, "model": "mlp", "hidden": [256, 128], "dropout": 0.1}

# N = rows, C = columns with a window, W = window, H = horizon, Q = quantile levels


class ForecastModule(nn.Module):
    """A linear model of the windows plus, unless it is the whole model, a perceptron.

    The series' own window is seen by its distance from its last value, and every step is scored as a distance from
    it too: a series that wanders off is followed.
    """

    mean_C1: Tensor
    std_C1: Tensor
    anchored: Tensor

    def __init__(self, schema: Schema, hidden: list[int], dropout: float) -> None:
        super().__init__()
        features, target = schema.features, schema.target
        self.objective = Objective(target)
        self.own = [feature.name for feature in features].index(series.PAST + target.name)
        scales = [(target.mean, target.std) if p == self.own else (f.mean, f.std) for p, f in enumerate(features)]
        self.register_buffer("mean_C1", torch.tensor([[mean] for mean, _ in scales], dtype=torch.float32))
        self.register_buffer("std_C1", torch.tensor([[std] for _, std in scales], dtype=torch.float32))
        # Of the quantiles of a step only the lowest is anchored: the others are told by what they lie above it.
        per_step = [1.0] + [0.0] * (self.objective.width // target.steps - 1)
        self.register_buffer("anchored", torch.tensor(per_step * target.steps, dtype=torch.float32))
        width = 2 * len(features) * features[0].shape[0] + 1
        self.linear = nn.Linear(width, self.objective.width)
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.objective.width)) if hidden else None

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (N, H), or (N, H * Q)."""
        raw_NCW = inputs["past"]
        known_NCW = torch.isfinite(raw_NCW)
        scaled_NCW = torch.where(known_NCW, (raw_NCW - self.mean_C1) / self.std_C1, 0.0)
        last_N1 = scaled_NCW[:, self.own, -1:]
        is_own_C1 = torch.arange(scaled_NCW.shape[1], device=scaled_NCW.device)[:, None] == self.own
        moved_NCW = torch.where(is_own_C1, scaled_NCW - last_N1[:, None], scaled_NCW)
        joined = torch.cat([moved_NCW.flatten(1), (~known_NCW).flatten(1).to(moved_NCW.dtype), last_N1], dim=1)
        scores: Tensor = self.linear(joined) + last_N1 * self.anchored
        return scores if self.layers is None else scores + self.layers(joined)


class ForecastTask(ScoringTask):
    """The next values, or their quantiles, of a series."""

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """A ForecastModule. Raises InvalidInput for a parameter that breaks its rule."""
        options = checked_options("forecast", PARAMS, params, schema.target)
        if schema.target.classes:
            raise InvalidInput("task.use = 'forecast' needs task.kind regression")
        if options.count("window") != schema.features[0].shape[0] or options.count("horizon") != schema.target.steps:
            raise InvalidInput("task.params.window and horizon can't be searched: set them in task.params alone")
        options.count("stride")
        hidden, dropout = options.widths("hidden"), options.share("dropout")
        is_linear = options.choice("model", ("mlp", "linear")) == "linear"
        return ForecastModule(schema, [] if is_linear else hidden, dropout)

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """`past` (N, C, W) float32, the oldest value first, NaN where one is missing."""
        windows = [np.asarray(columns[feature.name], dtype=np.float32) for feature in schema.features]
        shaped = [w.reshape(-1, feature.shape[0]) for w, feature in zip(windows, schema.features, strict=True)]
        return {"past": torch.from_numpy(np.stack(shaped, axis=1))}
