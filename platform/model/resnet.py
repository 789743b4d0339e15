"""Owns a small residual network for small images; group norms keep a row's answer apart from its batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .recompute import Recomputing

GROUP = 8
"""Channels that are normalised together."""
HALVED_FROM = 24
"""Sides from which the first convolution halves them: most of the work would be done on the largest."""


class Residual(nn.Module):
    """Two convolutions added to what came in; `stride` 2 halves the sides."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([_norm(after), _norm(after)])
        is_same = before == after and stride == 1
        self.shortcut = nn.Identity() if is_same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Channels before to channels after."""
        inner = torch.relu(self.norms[0](self.first(values)))
        return torch.relu(self.norms[1](self.second(inner)) + self.shortcut(values))


class ResNet(Recomputing):
    """A convolution, one residual block for each width, each but the first halving the sides; and the mean."""

    def __init__(self, channels: int, size: Sequence[int], widths: Sequence[int], outputs: int, dropout: float) -> None:
        super().__init__()
        stride = 2 if min(size) >= HALVED_FROM else 1
        first = nn.Conv2d(channels, widths[0], 3, stride, padding=1, bias=False)
        self.stem = nn.Sequential(first, _norm(widths[0]), nn.ReLU())
        pairs = zip([widths[0], *widths], widths, strict=False)
        self.stages = nn.Sequential(*(Residual(a, b, 1 if place == 0 else 2) for place, (a, b) in enumerate(pairs)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, pixels_NCYX: Tensor) -> Tensor:
        """Scores (N, outputs)."""
        values = self.through(self.stages, self.stem(pixels_NCYX))
        scores: Tensor = self.head(self.dropout(values.mean(dim=(2, 3))))
        return scores


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(width // GROUP if width % GROUP == 0 else 1, width)
