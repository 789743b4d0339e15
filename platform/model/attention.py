"""Owns the Transformer encoder that images in patches and texts share; it knows neither."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .recompute import Recomputing

# N = rows, L = places, D = width, H = heads


class Block(nn.Module):
    """Attention and a perceptron, each normalised first and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mix, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, values_NLD: Tensor, mask_NL: Tensor | None) -> Tensor:
        """Values of the same shape; places whose mask is False are not looked at."""
        rows, length, width = values_NLD.shape
        mixed = self.mix(self.norms[0](values_NLD)).reshape(rows, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        mask = None if mask_NL is None else mask_NL[:, None, None, :]
        dropped = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)
        values_NLD = values_NLD + self._drop(self.project(seen.transpose(1, 2).reshape(rows, length, width)))
        inner = self._drop(functional.gelu(self.widen(self.norms[1](values_NLD))))
        return values_NLD + self._drop(self.narrow(inner))

    def _drop(self, values: Tensor) -> Tensor:
        return functional.dropout(values, self.dropout, self.training)


class Encoder(Recomputing):
    """A learnt place for each of `length` values, blocks, and the mean over what the mask lets through."""

    def __init__(self, length: int, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, values_NLD: Tensor, mask_NL: Tensor | None = None) -> Tensor:
        """One vector (N, D) for each row; each row must have one place at least that its mask lets through."""
        values_NLD = values_NLD + self.places[: values_NLD.shape[1]]
        values_NLD = self.norm(self.through(self.blocks, values_NLD, mask_NL))
        if mask_NL is None:
            return values_NLD.mean(dim=1)
        weight_NL1 = mask_NL.unsqueeze(2).to(values_NLD.dtype)
        return (values_NLD * weight_NL1).sum(dim=1) / weight_NL1.sum(dim=1)
