"""The built-in task for tables: a multilayer perceptron over scaled numbers and embedded categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InvalidInput
from .matrix import Matrix
from .schema import Feature, Schema
from .signature import Columns
from .task import Batch, Inputs

PARAMS: Mapping[str, Any] = {"hidden": [128, 64], "dropout": 0.0, "embedding": 8}

# N = rows, F = numeric features, C = categorical features, K = classes


class TabularModule(nn.Module):
    """Scales, marks what is missing, embeds, and passes all through a perceptron."""

    mean_F: Tensor
    std_F: Tensor
    missing: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, schema: Schema, hidden: Sequence[int], dropout: float, embedding: int) -> None:
        super().__init__()
        numeric, categorical = schema.numeric, schema.categorical
        self.register_buffer("mean_F", torch.tensor([f.mean for f in numeric], dtype=torch.float32))
        self.register_buffer("std_F", torch.tensor([f.std for f in numeric], dtype=torch.float32))
        flags = [place for place, feature in enumerate(numeric) if feature.has_missing]
        self.register_buffer("missing", torch.tensor(flags, dtype=torch.int64))
        self.register_buffer("target_mean", torch.tensor(schema.target.mean, dtype=torch.float32))
        self.register_buffer("target_std", torch.tensor(schema.target.std, dtype=torch.float32))
        self.embeddings = nn.ModuleList(nn.Embedding(len(f.categories) + 1, embedding) for f in categorical)
        width = len(numeric) + len(flags) + embedding * len(categorical)
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        layers.append(nn.Linear(width, len(schema.target.classes) or 1))
        self.layers = nn.Sequential(*layers)
        self._linears = [layer for layer in layers if isinstance(layer, nn.Linear)]

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (N, K), or scaled values (N, 1)."""
        parts: list[Tensor] = []
        if "numeric" in inputs:
            raw_NF = inputs["numeric"]
            scaled_NF = (raw_NF - self.mean_F) / self.std_F
            parts.append(torch.nan_to_num(scaled_NF, nan=0.0, posinf=0.0, neginf=0.0))
            if len(self.missing):
                parts.append((~torch.isfinite(raw_NF[:, self.missing])).to(scaled_NF.dtype))
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


class TabularTask:
    """Classification by cross-entropy, regression by squared error of the scaled target."""

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """A TabularModule. Raises InvalidInput for a parameter that it does not know or that breaks its rule."""
        unknown = sorted(set(params) - set(PARAMS))
        if unknown:
            raise InvalidInput(f"task.params.{unknown[0]} is unknown to tabular; known: {', '.join(PARAMS)}")
        chosen = {**PARAMS, **params}
        hidden, dropout, embedding = chosen["hidden"], chosen["dropout"], chosen["embedding"]
        widths = [hidden] if isinstance(hidden, int) else hidden
        if not isinstance(widths, (list, tuple)) or not all(_is_width(width) for width in widths):
            raise InvalidInput(f"task.params.hidden = {hidden!r}: it must be a list of widths above 0")
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise InvalidInput(f"task.params.dropout = {dropout!r}: it must be at least 0 and below 1")
        if not _is_width(embedding):
            raise InvalidInput(f"task.params.embedding = {embedding!r}: it must be a whole number above 0")
        return TabularModule(schema, widths, float(dropout), embedding)

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """`numeric` (N, F) float32 with NaN for missing, `categorical` (N, C) int64 with 0 for unknown."""
        inputs: dict[str, Tensor] = {}
        if isinstance(columns, Matrix) and len(schema.numeric) == len(schema.features) == len(columns):
            inputs["numeric"] = torch.from_numpy(np.asarray(columns.values_NF, dtype=np.float32))
        elif schema.numeric:
            numbers = [np.asarray(columns[f.name], dtype=np.float32) for f in schema.numeric]
            inputs["numeric"] = torch.from_numpy(np.stack(numbers, axis=1))
        if schema.categorical:
            codes = [_codes(feature, columns[feature.name]) for feature in schema.categorical]
            inputs["categorical"] = torch.from_numpy(np.stack(codes, axis=1))
        return inputs

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy in nats, or mean squared error in units of the target's deviation."""
        scores = module(batch.inputs)
        if not batch.target.is_floating_point():
            return nn.functional.cross_entropy(scores.float(), batch.target)
        inner = _unwrapped(module)
        scaled = (batch.target - inner.target_mean) / inner.target_std
        return nn.functional.mse_loss(scores.float().squeeze(1), scaled)

    def predict(self, module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """`probabilities` (N, K), or `prediction` (N,) in the target's own unit."""
        scores = module(inputs).float()
        if scores.shape[1] > 1:
            return {"probabilities": torch.softmax(scores, dim=1)}
        inner = _unwrapped(module)
        return {"prediction": scores.squeeze(1) * inner.target_std + inner.target_mean}


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _unwrapped(module: nn.Module) -> TabularModule:
    """The module inside DistributedDataParallel, or the module itself."""
    inner = module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
    assert isinstance(inner, TabularModule)
    return inner


def _codes(feature: Feature, values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Place of each text among the sorted categories, from 1; 0 for any other and for none."""
    known = np.asarray(feature.categories, dtype=object)
    given = values.tolist()
    is_text = np.asarray([isinstance(value, str) for value in given], dtype=np.bool_)
    texts = np.asarray([value if isinstance(value, str) else "" for value in given], dtype=object)
    if not len(known):
        return np.zeros(len(texts), dtype=np.int64)
    places = np.searchsorted(known, texts)
    places = np.minimum(places, len(known) - 1)
    return np.where(is_text & (known[places] == texts), places + 1, 0).astype(np.int64)
