"""Images: how their numbers lie, how pictures are decoded, and what training alone does to them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model import picture
from rayloop.platform.model.augment import flipped, shifted
from rayloop.platform.model.feature import Feature
from rayloop.platform.model.image import ImageTask, image_shape
from rayloop.platform.model.picture import decode_pictures, encode_picture, open_picture
from rayloop.platform.model.schema import Schema, fit_schema
from rayloop.platform.model.target import Target
from rayloop.platform.project import Project

CLASSES = Target("label", "INT64", (0, 1))


def array(*shape: int) -> Feature:
    return Feature("x", "array", "FP32", shape=shape)


def png(pixels: Any, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(content, format=form)
    return content.getvalue()


@pytest.mark.parametrize(
    ("shape", "found"),
    [((28, 20), (1, 28, 20)), ((28, 20, 3), (3, 28, 20)), ((3, 28, 20), (3, 28, 20)), ((1, 8, 4), (4, 1, 8))],
)
def test_channels_lie_before_or_behind(shape: tuple[int, ...], found: tuple[int, ...]) -> None:
    assert image_shape(array(*shape)) == found


def test_a_row_of_numbers_without_a_shape_is_refused() -> None:
    for shape in ((64,), (5, 6, 7), (1, 1, 1, 1)):
        with pytest.raises(InvalidInput, match=r"column 'x' holds .* numbers a row; an image has a height and a width"):
            image_shape(array(*shape))


def test_pixels_keep_their_places() -> None:
    numbers = np.arange(24, dtype=np.float32)[None]
    last = ImageTask().encode(Schema((array(2, 4, 3),), CLASSES), {"x": numbers})["pixels"]
    assert last.shape == (1, 3, 2, 4)
    assert last[0, :, 0, 1].tolist() == [3, 4, 5]
    first = ImageTask().encode(Schema((array(3, 4, 2),), CLASSES), {"x": numbers})["pixels"]
    assert first[0, :, 0, 1].tolist() == [1, 9, 17]


def test_a_png_is_decoded_as_it_was_and_brought_to_the_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    feature = Feature("x", "image", "BYTES", shape=(5, 7, 3))
    given = np.array([png(pixels), base64.b64encode(png(pixels)).decode(), encode_picture(pixels)], dtype=object)
    for found in decode_pictures(given, feature):
        assert found.tolist() == pixels.tolist()
    small = decode_pictures(given[:1], Feature("x", "image", "BYTES", shape=(2, 3, 1)))
    assert small.shape == (1, 2, 3, 1)
    assert decode_pictures(np.array([png(pixels, "JPEG")], dtype=object), feature).shape == (1, 5, 7, 3)


@pytest.mark.parametrize("value", [b"", b"GIF89a", png(np.zeros((4, 4)))[:20], png(np.zeros((4, 4)), "GIF")])
def test_other_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(InvalidInput, match=f"column 'x' holds {len(value)} bytes that are not a PNG or JPEG picture"):
        open_picture(value, "x")


def test_a_gap_and_a_huge_picture_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="column 'x' holds None; each row must have a picture"):
        open_picture(None, "x")
    monkeypatch.setattr(picture, "MOST_PIXELS", 15)
    with pytest.raises(InvalidInput, match="column 'x' holds a picture of 4 x 4; 15 pixels are the most"):
        open_picture(png(np.zeros((4, 4))), "x")


def test_a_schema_of_pictures_has_the_first_ones_size_and_their_scale(make_project: Callable[..., Project]) -> None:
    values = [png(np.full((4, 6, 3), 100)), png(np.full((8, 8, 3), 200))]
    table = pa.table({"x": values, "label": ["a", "b"]})
    (found,) = fit_schema(table, make_project(task={"use": "image"})).features
    assert (found.kind, found.shape, found.mean, found.std) == ("image", (4, 6, 3), 150.0, 50.0)
    (grey,) = fit_schema(table, make_project(task={"use": "image", "params": {"shape": [5, 5]}})).features
    assert grey.shape == (5, 5, 1)


def test_images_move_by_whole_pixels_in_training_alone() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 1.0
    torch.manual_seed(0)
    moved = shifted(image.expand(400, -1, -1, -1), 1)
    places = {tuple(place[2:]) for place in moved.nonzero().tolist()}
    assert places == {(down, across) for down in (1, 2, 3) for across in (1, 2, 3)}
    assert moved.sum().item() == 400
    torch.manual_seed(0)
    assert torch.equal(shifted(image.expand(400, -1, -1, -1), 1), moved)
    turned = flipped(torch.arange(3.0).expand(200, 1, 1, 3)).flatten(1)
    assert {tuple(row) for row in turned.tolist()} == {(0.0, 1.0, 2.0), (2.0, 1.0, 0.0)}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"model": "vgg"}, "task.params.model = 'vgg': it must be one of resnet, vit"),
        ({"widths": []}, "task.params.widths = []: it must name one stage at least"),
        ({"shift": -1}, "task.params.shift = -1: it must be a whole number of 0 or more"),
        ({"flip": 1}, "task.params.flip = 1: it must be true or false"),
        ({"model": "vit", "width": 10}, "task.params.width = 10: it must be a multiple of task.params.heads, 4"),
        ({"model": "vit", "patch": 9}, "task.params.patch = 9: it must be at most the image's sides, 8 and 8"),
        ({"hidden": [3]}, "task.params.hidden is unknown to image; known: model, shape, widths"),
    ],
)
def test_bad_parameters_are_one_sentence(params: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        ImageTask().build(Schema((array(8, 8),), CLASSES), params)
    assert str(error.value).startswith(said)
