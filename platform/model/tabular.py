"""The built-in task for tables: a perceptron over numbers in pieces and embedded categories, or a linear model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .columns import to_float32
from .feature import Feature
from .matrix import Matrix
from .numbers import WAYS, Numbers
from .objective import Objective, ScoringTask, checked_options
from .options import is_count
from .schema import Schema
from .signature import Columns
from .task import Inputs

PARAMS: Mapping[str, Any] = {
    "model": "mlp",
    "hidden": [256, 128],
    "dropout": 0.3,
    "embedding": "auto",
    "numbers": "piecewise",
}
MOST_EMBEDDED = 24
"""The widest embedding that `auto` gives."""
DAY_S = 86_400.0
CALENDAR = (DAY_S, 7 * DAY_S, 365.2425 * DAY_S)
"""The cycles on which an instant has a place, in seconds: hour of the day, day of the week, season."""

# N = rows, F = numeric features, C = categorical features, T = features that are times, K = classes


class TabularModule(nn.Module):
    """Scales, marks gaps, embeds, and passes all through a perceptron; without hidden layers it is linear."""

    def __init__(
        self, schema: Schema, hidden: Sequence[int], dropout: float, embeddings: Sequence[int], numbers: str
    ) -> None:
        super().__init__()
        self.objective = Objective(schema.target)
        self.numbers = Numbers(schema.numeric, numbers)
        self.embeddings = nn.ModuleList(
            nn.Embedding(len(feature.categories) + 1, width)
            for feature, width in zip(schema.categorical, embeddings, strict=True)
        )
        times = sum(feature.is_time for feature in schema.numeric)
        width = self.numbers.width + sum(embeddings) + 2 * len(CALENDAR) * times
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        layers.append(nn.Linear(width, self.objective.width))
        self.layers = nn.Sequential(*layers)
        self._linears = [layer for layer in layers if isinstance(layer, nn.Linear)]

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (N, width of the objective)."""
        parts: list[Tensor] = []
        if "numeric" in inputs:
            parts.append(self.numbers.forward(inputs["numeric"]))  # as a module it takes longer than its sums
        if "calendar" in inputs:
            parts.append(inputs["calendar"])
        if "categorical" in inputs:
            codes_NC = inputs["categorical"]
            parts += [table(codes_NC[:, place]) for place, table in enumerate(self.embeddings)]
        joined = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        scores: Tensor = self._infer(joined) if torch.is_inference_mode_enabled() else self.layers(joined)
        return scores

    def _infer(self, values: Tensor) -> Tensor:
        """What `layers` gives in evaluation; calling each layer as a module takes as long as its arithmetic."""
        *inner, last = self._linears
        for linear in inner:
            values = torch.relu(nn.functional.linear(values, linear.weight, linear.bias))
        return nn.functional.linear(values, last.weight, last.bias)


class TabularTask(ScoringTask):
    """Classes, labels, values or quantiles of rows of numbers, booleans, times and categories."""

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """A TabularModule. Raises InvalidInput for a parameter that it does not know or that breaks its rule."""
        options = checked_options("tabular", PARAMS, params, schema.target)
        is_linear = options.choice("model", ("mlp", "linear")) == "linear"
        hidden, dropout = options.widths("hidden"), options.share("dropout")
        numbers = options.choice("numbers", WAYS)
        if options["embedding"] != "auto" and not is_count(options["embedding"]):
            raise options.broken("embedding", "it must be a whole number above 0, or auto")
        if is_linear:
            hidden, numbers = [], params.get("numbers", "standard")
        embeddings = [
            embedding_width(feature, options["embedding"], schema.target.outputs[-1].width if is_linear else None)
            for feature in schema.categorical
        ]
        return TabularModule(schema, hidden, dropout, embeddings, numbers)

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """`numeric` (N, F) float32 with NaN for missing, `categorical` (N, C) int64 with 0 for unknown.

        Times are told in seconds from their mean, and by `calendar` (N, 6 T): sine and cosine of where they lie in the
        day, the week and the year.
        """
        inputs: dict[str, Tensor] = {}
        times = [feature for feature in schema.numeric if feature.is_time]
        is_matrix = isinstance(columns, Matrix) and len(schema.numeric) == len(schema.features) == len(columns)
        if isinstance(columns, Matrix) and is_matrix and not times:
            inputs["numeric"] = torch.from_numpy(to_float32(columns.values_NF))
        elif schema.numeric:
            numbers = [_numbers(feature, columns[feature.name]) for feature in schema.numeric]
            inputs["numeric"] = torch.from_numpy(np.stack(numbers, axis=1))
        if times:
            inputs["calendar"] = torch.from_numpy(np.concatenate([_calendar(columns[f.name]) for f in times], axis=1))
        if schema.categorical:
            codes = [_codes(feature, columns[feature.name]) for feature in schema.categorical]
            inputs["categorical"] = torch.from_numpy(np.stack(codes, axis=1))
        return inputs


def embedding_width(feature: Feature, wanted: int | str, outputs: int | None = None) -> int:
    """Numbers by which a category is told: as many as wanted, or by how many categories there are.

    A linear model has one for each output, which is what one weight for each category comes to.
    """
    if outputs is not None:
        return outputs
    if isinstance(wanted, int):
        return wanted
    return min(MOST_EMBEDDED, round(1.6 * math.pow(len(feature.categories) + 1, 0.56)))


def _numbers(feature: Feature, values: NDArray[np.generic]) -> NDArray[np.float32]:
    if feature.is_time:
        values = np.asarray(values, dtype=np.float64) - feature.mean
    return to_float32(values)


def _calendar(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Sine and cosine on each cycle, (N, 6); zeros for a time that is missing."""
    seconds = np.asarray(values, dtype=np.float64)
    turns = np.stack([seconds / cycle for cycle in CALENDAR], axis=1)
    angles = 2 * np.pi * (turns - np.floor(turns))
    found = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    filled: NDArray[np.float32] = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    return filled


def _codes(feature: Feature, values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Place of each text among the categories, from 1; 0 for any other and for none."""
    places = feature.places
    return np.asarray(
        [places.get(value, 0) if isinstance(value, str) else 0 for value in values.tolist()], dtype=np.int64
    )
