"""The built-in task for texts: one column of text, as bytes or words, through a small Transformer encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from . import vocabulary
from .attention import Encoder
from .objective import Objective, ScoringTask, checked_options
from .schema import Schema
from .signature import Columns
from .task import Inputs
from .vocabulary import PADDING, tokens_of, vocabulary_size

PARAMS: Mapping[str, Any] = {**vocabulary.PARAMS, "width": 64, "depth": 2, "heads": 4, "dropout": 0.1}

# N = rows, L = places, D = width


class SequenceModule(nn.Module):
    """Embeds tokens, puts one learnt vector before them, encodes, and scores the mean of what is no padding."""

    def __init__(self, schema: Schema, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        (feature,) = schema.features
        self.objective = Objective(schema.target)
        self.embedding = nn.Embedding(vocabulary_size(feature), width)
        self.first = nn.Parameter(0.02 * torch.randn(width))  # an empty text has this one place
        self.encoder = Encoder(feature.shape[0] + 1, width, depth, heads, dropout)
        self.head = nn.Linear(width, self.objective.width)

    def enable_activation_checkpointing(self) -> None:
        """See Recomputing."""
        self.encoder.enable_activation_checkpointing()

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (N, width of the objective)."""
        tokens_NL = inputs["tokens"]
        if not torch.compiler.is_compiling() and tokens_NL.device.type == "cpu":
            # Columns that are padding in every row change no answer, and cost as much as any other.
            used = int((tokens_NL != PADDING).sum(dim=1).max()) if len(tokens_NL) else 0
            tokens_NL = tokens_NL[:, : max(1, used)]
        first_N1D = self.first.expand(len(tokens_NL), 1, -1)
        values_NLD = torch.cat([first_N1D, self.embedding(tokens_NL)], dim=1)
        mask_NL = torch.cat([torch.ones_like(tokens_NL[:, :1], dtype=torch.bool), tokens_NL != PADDING], dim=1)
        scores: Tensor = self.head(self.encoder(values_NLD, mask_NL))
        return scores


class SequenceTask(ScoringTask):
    """Classes, labels, values or quantiles of texts."""

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """A SequenceModule. Raises InvalidInput for a parameter that breaks its rule."""
        options = checked_options("sequence", PARAMS, params, schema.target)
        if len(schema.features) != 1 or schema.features[0].kind != "text":
            raise InvalidInput("the sequence task reads one column of text")
        if options.count("length") != schema.features[0].shape[0]:
            raise InvalidInput("task.params.length can't be searched: set it in task.params alone")
        width, heads = options.count("width"), options.count("heads")
        if width % heads:
            raise options.broken("width", f"it must be a multiple of task.params.heads, {heads}")
        return SequenceModule(schema, width, options.count("depth"), heads, options.share("dropout"))

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """`tokens` (N, L) int32, 0 where a text has ended."""
        (feature,) = schema.features
        return {"tokens": torch.from_numpy(tokens_of(feature, columns[feature.name].tolist()))}
