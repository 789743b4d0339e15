"""Owns encoded pictures: PNG or JPEG, as bytes in a table and as base64 text in a request, to pixels and back."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import InvalidInput
from .feature import Feature, scale

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 16_777_216
"""Of one picture; a small file may unfold to any size."""
MOST_SAMPLED = 1_000
"""Pictures from which the scale of the pixels is taken."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
CHANNELS = {"1": 1, "L": 1, "LA": 4, "RGBA": 4}
"""Of a picture's own mode; any other is read as colours without transparency."""

# N = rows, Y, X = pixels down and across, C = channels


def decode_pictures(values_N: NDArray[Any], feature: Feature) -> NDArray[np.uint8]:
    """Pixels (N, Y, X, C) of the feature's shape. Raises InvalidInput for what is no picture."""
    height, width, channels = feature.shape
    pixels_NYXC = np.zeros((len(values_N), height, width, channels), dtype=np.uint8)
    for row, value in enumerate(values_N.tolist()):
        picture = open_picture(value, feature.name).convert(MODES[channels])
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels_NYXC[row] = np.asarray(picture, dtype=np.uint8).reshape(height, width, channels)
    return pixels_NYXC


def fit_picture(feature: Feature, values: pa.ChunkedArray, shape: Sequence[int] | None) -> Feature:
    """The feature with the shape asked for, or that of its first picture; and with the scale of some of its rows."""
    rows = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_SAMPLED)).astype(np.int64))
    sampled = values.take(pa.array(rows)).to_numpy()
    if shape is None:
        picture = open_picture(sampled[0], feature.name)
        shape = (picture.height, picture.width, CHANNELS.get(picture.mode, 3))
    shape = (*shape, 1) if len(shape) == 2 else tuple(shape)
    if len(shape) != 3 or shape[2] not in MODES:
        raise InvalidInput(f"task.params.shape = {list(shape)}: it must be height, width and 1, 3 or 4 channels")
    feature = replace(feature, shape=shape)
    mean, std = scale(decode_pictures(sampled, feature).astype(np.float64))
    return replace(feature, mean=mean, std=std)


def open_picture(value: object, name: str) -> Image.Image:
    """One picture, decoded. Raises InvalidInput, naming the column."""
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(f"column {name!r} holds {value[:20]!r}, which is not the base64 of a picture") from None
    if not isinstance(value, bytes):
        raise InvalidInput(f"column {name!r} holds {value!r}; each row must have a picture")
    try:
        picture: Image.Image = Image.open(io.BytesIO(value), formats=FORMATS)
        is_small = picture.width * picture.height <= MOST_PIXELS
        if is_small:
            picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InvalidInput(f"column {name!r} holds {len(value)} bytes that are not a PNG or JPEG picture") from None
    if not is_small:
        size = f"{picture.width} x {picture.height}"
        raise InvalidInput(f"column {name!r} holds a picture of {size}; {MOST_PIXELS} pixels are the most")
    return picture


def encode_picture(pixels_YXC: NDArray[np.uint8]) -> str:
    """The base64 of a PNG."""
    content = io.BytesIO()
    grey = pixels_YXC[:, :, 0] if pixels_YXC.shape[2] == 1 else pixels_YXC
    Image.fromarray(grey).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()


def mean_picture(feature: Feature) -> str:
    """A picture of the feature's shape in its mean colour."""
    return encode_picture(np.full(feature.shape or (8, 8, 1), round(feature.mean), dtype=np.uint8))
