"""Owns a small vision Transformer: an image is cut into patches, and each patch is a place of the sequence."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from .attention import Encoder


class VisionTransformer(nn.Module):
    """Patches to vectors, an encoder, and a linear head over their mean; sides are filled up to whole patches."""

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        patch: int,
        width: int,
        depth: int,
        heads: int,
        outputs: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.fill = [-size[1] % patch, -size[0] % patch]
        places = -(-size[0] // patch) * -(-size[1] // patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.encoder = Encoder(places, width, depth, heads, dropout)
        self.head = nn.Linear(width, outputs)

    def enable_activation_checkpointing(self) -> None:
        """See Recomputing."""
        self.encoder.enable_activation_checkpointing()

    def forward(self, pixels_NCYX: Tensor) -> Tensor:
        """Scores (N, outputs)."""
        filled = functional.pad(pixels_NCYX, (0, self.fill[0], 0, self.fill[1]))
        patches_NLD = self.patches(filled).flatten(2).transpose(1, 2)
        scores: Tensor = self.head(self.encoder(patches_NLD))
        return scores
