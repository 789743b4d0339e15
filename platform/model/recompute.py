"""Owns how parts of a network are computed twice in training, so that little of what they gave is held in between."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Recomputing(nn.Module):
    """A network of parts one after the other. What it gives is the same either way, dropout included."""

    recomputes = False

    def enable_activation_checkpointing(self) -> None:
        """From here on, hold what goes into each part, and compute the rest again for the gradients."""
        self.recomputes = True

    def through(self, parts: Iterable[nn.Module], values: Tensor, *others: Tensor | None) -> Tensor:
        """What the last part gives; each is called with what the one before gave, and `others`."""
        is_twice = self.recomputes and self.training
        for part in parts:
            values = checkpoint(part, values, *others, use_reentrant=False) if is_twice else part(values, *others)
        return values
