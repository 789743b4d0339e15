"""The built-in task for images: one column of pixels or of encoded pictures, a small ResNet or a small ViT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .augment import flipped, shifted
from .feature import Feature
from .objective import Objective, ScoringTask, checked_options
from .options import Options, is_count
from .picture import decode_pictures
from .resnet import ResNet
from .schema import Schema
from .signature import Columns
from .task import Inputs
from .vit import VisionTransformer

PARAMS: Mapping[str, Any] = {
    "model": "resnet",
    "shape": None,
    "widths": [16, 32, 64],
    "width": 64,
    "depth": 4,
    "heads": 4,
    "patch": 4,
    "dropout": 0.1,
    "shift": 2,
    "flip": False,
}
"""`widths` are of the ResNet's stages; `width`, `depth`, `heads` and `patch` are of the ViT."""

CHANNELS = (1, 3, 4)

# N = rows, C = channels, Y, X = pixels down and across


class ImageModule(nn.Module):
    """Scales pixels, moves and flips them a little in training alone, and passes them through a network."""

    mean: Tensor
    std: Tensor

    def __init__(self, schema: Schema, network: ResNet | VisionTransformer, shift: int, flip: bool) -> None:
        super().__init__()
        (feature,) = schema.features
        self.objective = Objective(schema.target)
        self.register_buffer("mean", torch.tensor(feature.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(feature.std, dtype=torch.float32))
        self.network = network
        self.shift, self.flip = shift, flip

    def enable_activation_checkpointing(self) -> None:
        """See Recomputing."""
        self.network.enable_activation_checkpointing()

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores (N, width of the objective)."""
        pixels_NCYX = (inputs["pixels"].to(self.mean.dtype) - self.mean) / self.std
        pixels_NCYX = torch.nan_to_num(pixels_NCYX, nan=0.0, posinf=0.0, neginf=0.0)
        if self.training and self.shift:
            pixels_NCYX = shifted(pixels_NCYX, self.shift)
        if self.training and self.flip:
            pixels_NCYX = flipped(pixels_NCYX)
        scores: Tensor = self.network(pixels_NCYX)
        return scores


class ImageTask(ScoringTask):
    """Classes, labels, values or quantiles of images."""

    def build(self, schema: Schema, params: Mapping[str, Any]) -> nn.Module:
        """An ImageModule. Raises InvalidInput for a parameter that breaks its rule, or an image of another shape."""
        options = checked_options("image", PARAMS, params, schema.target)
        if len(schema.features) != 1:
            raise InvalidInput(f"the image task reads one column, not {len(schema.features)}")
        channels, *size = image_shape(schema.features[0])
        outputs = Objective(schema.target).width
        flip, shift, dropout = options.flag("flip"), options.count("shift", least=0), options.share("dropout")
        if options.choice("model", ("resnet", "vit")) == "resnet":
            widths = options.widths("widths")
            if not widths:
                raise options.broken("widths", "it must name one stage at least")
            network: ResNet | VisionTransformer = ResNet(channels, size, widths, outputs, dropout)
        else:
            network = _transformer(options, channels, size, outputs, dropout)
        return ImageModule(schema, network, min(shift, *(side - 1 for side in size)), flip)

    def encode(self, schema: Schema, columns: Columns) -> dict[str, Tensor]:
        """`pixels` (N, C, Y, X), as bytes where they came encoded and float32 else; NaN where a pixel is missing."""
        (feature,) = schema.features
        values = columns[feature.name]
        channels, height, width = image_shape(feature)
        if feature.kind == "image":
            pixels_NYXC = decode_pictures(values, feature)
        else:
            pixels_NYXC = np.asarray(values, dtype=np.float32)
        if feature.kind == "array" and _is_channels_first(feature.shape):
            return {"pixels": torch.from_numpy(np.array(pixels_NYXC).reshape(-1, channels, height, width))}
        pixels_NYXC = pixels_NYXC.reshape(-1, height, width, channels)
        return {"pixels": torch.from_numpy(np.array(pixels_NYXC.transpose(0, 3, 1, 2), order="C"))}


def image_shape(feature: Feature) -> tuple[int, int, int]:
    """Channels, height and width. Raises InvalidInput where the feature's shape is no image's."""
    shape = feature.shape
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) == 3 and _is_channels_first(shape):
        return shape[0], shape[1], shape[2]
    if len(shape) == 3 and shape[2] in CHANNELS:
        return shape[2], shape[0], shape[1]
    raise InvalidInput(
        f"column {feature.name!r} holds {list(shape)} numbers a row; an image has a height and a width, and 1, 3 or 4 "
        "channels before or behind them: set task.params.shape, such as [28, 28]"
    )


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    """Colours lie behind height and width, unless their number is found in front alone."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS


def _transformer(options: Options, channels: int, size: list[int], outputs: int, dropout: float) -> VisionTransformer:
    width, heads, patch = options.count("width"), options.count("heads"), options.count("patch")
    if width % heads:
        raise options.broken("width", f"it must be a multiple of task.params.heads, {heads}")
    if not all(is_count(side) and side >= patch for side in size):
        raise options.broken("patch", f"it must be at most the image's sides, {size[0]} and {size[1]}")
    return VisionTransformer(channels, size, patch, width, options.count("depth"), heads, outputs, dropout)
