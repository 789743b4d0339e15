"""Owns the light changes that training makes to images, drawn from torch's own generator, as dropout is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# N = rows, C = channels, Y, X = pixels down and across


def shifted(pixels_NCYX: Tensor, most: int) -> Tensor:
    """Each image moved by up to `most` pixels down and across; what comes in is 0, the mean of a scaled image."""
    rows, channels, height, width = pixels_NCYX.shape
    device = pixels_NCYX.device
    padded = functional.pad(pixels_NCYX, (most, most, most, most))
    down_N = torch.randint(0, 2 * most + 1, (rows, 1), device=device)
    across_N = torch.randint(0, 2 * most + 1, (rows, 1), device=device)
    down_NY = (down_N + torch.arange(height, device=device))[:, None, :, None].expand(-1, channels, -1, padded.shape[3])
    across_NX = (across_N + torch.arange(width, device=device))[:, None, None, :].expand(-1, channels, height, -1)
    return padded.gather(2, down_NY).gather(3, across_NX)


def flipped(pixels_NCYX: Tensor) -> Tensor:
    """Each image mirrored, or not, with equal chances."""
    is_flipped_N = torch.rand(len(pixels_NCYX), 1, 1, 1, device=pixels_NCYX.device) < 0.5
    return torch.where(is_flipped_N, pixels_NCYX.flip(3), pixels_NCYX)
