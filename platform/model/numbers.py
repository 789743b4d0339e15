"""Owns how numbers enter a module: scaled, ranked or in pieces, with flags where one is missing; all as buffers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .feature import Feature

WAYS = ("piecewise", "quantile", "standard")

# N = rows, F = numeric features, P = pieces of all features together


class Numbers(nn.Module):
    """Raw numbers (N, F), NaN where missing, to (N, width) without gaps.

    `standard` gives each number in deviations from the mean. `quantile` gives its rank among the training rows
    instead, and `piecewise` both and how far it fills each bin between its feature's edges (Gorishniy and others
    2022, "On embeddings for numerical features in tabular deep learning"). Flags of what is missing follow.
    """

    mean_F: Tensor
    std_F: Tensor
    missing: Tensor
    places_P: Tensor
    low_P: Tensor
    rate_P: Tensor
    floor_P: Tensor
    ceiling_P: Tensor

    def __init__(self, features: Sequence[Feature], way: str) -> None:
        super().__init__()
        # Times lose their mean in encode, in float64: float32 knows an instant to two minutes only.
        means = [0.0 if feature.is_time else feature.mean for feature in features]
        self.register_buffer("mean_F", torch.tensor(means, dtype=torch.float32))
        self.register_buffer("std_F", torch.tensor([f.std for f in features], dtype=torch.float32))
        flags = [place for place, feature in enumerate(features) if feature.has_missing]
        self.register_buffer("missing", torch.tensor(flags, dtype=torch.int64))
        pieces = [piece for place, f in enumerate(features) for piece in _pieces(place, f)] if way != "standard" else []
        columns = list(zip(*pieces, strict=True)) or [()] * 5
        self.register_buffer("places_P", torch.tensor(columns[0], dtype=torch.int64))
        for name, values in zip(("low_P", "rate_P", "floor_P", "ceiling_P"), columns[1:], strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))
        self.num_pieces, self.num_flags = len(pieces), len(flags)  # asked for in each call, and a tensor's is slow
        self.is_ranked = way == "quantile" and bool(pieces)
        self.width = len(features) + len(flags) + (0 if self.is_ranked else len(pieces))

    def forward(self, raw_NF: Tensor) -> Tensor:
        """See the class."""
        scaled_NF = (raw_NF - self.mean_F) / self.std_F
        scaled_NF = torch.nan_to_num(scaled_NF, nan=0.0, posinf=0.0, neginf=0.0)
        parts = [scaled_NF]
        if self.num_pieces:
            fill_NP = (torch.index_select(scaled_NF, 1, self.places_P) - self.low_P) * self.rate_P
            fill_NP = torch.clamp(fill_NP, 0.0, 1.0) if self.is_ranked else fill_NP.clamp(self.floor_P, self.ceiling_P)
            parts = [self._ranks(scaled_NF, fill_NP)] if self.is_ranked else [scaled_NF, fill_NP]
        if self.num_flags:
            parts.append((~torch.isfinite(raw_NF[:, self.missing])).to(scaled_NF.dtype))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _ranks(self, scaled_NF: Tensor, fill_NP: Tensor) -> Tensor:
        """Evenly spread from -1.73 to 1.73, which has deviation 1; a feature without edges stays scaled."""
        bins_F = torch.zeros_like(scaled_NF[0]).index_add(0, self.places_P, torch.ones_like(fill_NP[0]))
        filled_NF = torch.zeros_like(scaled_NF).index_add(1, self.places_P, fill_NP)
        return torch.where(bins_F > 0, (filled_NF / bins_F.clamp(min=1.0) * 2 - 1) * 3**0.5, scaled_NF)


def _pieces(place: int, feature: Feature) -> list[tuple[float, ...]]:
    """For each bin: the feature's place, where it begins and by how much it fills, in deviations; its bounds.

    The first bin goes on below and the last one above, but no further than some bins: an outlier is no neighbour.
    """
    mean = feature.mean
    edges = _apart([(edge - mean) / feature.std for edge in feature.edges])
    last = len(edges) - 2
    return [
        (place, low, 1.0 / (high - low), -BEYOND if number == 0 else 0.0, 1.0 + BEYOND if number == last else 1.0)
        for number, (low, high) in enumerate(pairwise(edges))
    ]


def _apart(edges: Sequence[float]) -> list[float]:
    """The edges that differ from the one before: beside a value of 1e38 all others may be the same."""
    kept = list(edges[:1])
    for edge in edges[1:]:
        if edge - kept[-1] >= NARROWEST:
            kept.append(edge)
    return kept


NARROWEST = 1e-30
"""A bin of this many deviations fills at a rate that 32 bits still hold."""
BEYOND = 3.0
"""How many of its own widths an outer bin is filled beyond its end."""
