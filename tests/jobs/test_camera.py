"""The demo's images: the same on every machine, parted without overlap, and knocked the same way each time."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from rayloop.jobs.demo.camera import FIRST_ROWS, FULL, LABELLED_ROWS, Images, knock, load_parts

NUM_IMAGES = 1797


@pytest.fixture(scope="module")
def parts() -> tuple[Images, Images, Images]:
    return load_parts()


def test_parts_have_their_sizes_and_share_no_image(parts: tuple[Images, ...]) -> None:
    sizes = [len(part.labels_N) for part in parts]
    assert sizes == [FIRST_ROWS, LABELLED_ROWS, NUM_IMAGES - FIRST_ROWS - LABELLED_ROWS]
    numbers = np.concatenate([part.numbers_N for part in parts])
    assert np.array_equal(np.sort(numbers), np.arange(NUM_IMAGES))
    for part, size in zip(parts, sizes, strict=True):
        assert part.pixels_NP.shape == (size, 64)
        assert (part.pixels_NP.dtype, part.labels_N.dtype) == (np.float32, np.int64)
        assert set(part.labels_N) == set(range(10))


def test_every_load_gives_the_same_parts(parts: tuple[Images, ...]) -> None:
    for part, again in zip(parts, load_parts(), strict=True):
        assert np.array_equal(part.numbers_N, again.numbers_N)
        assert np.array_equal(part.pixels_NP, again.pixels_NP)
        assert np.array_equal(part.labels_N, again.labels_N)
    digest = hashlib.sha256(np.concatenate([part.numbers_N for part in parts]).tobytes()).hexdigest()
    assert digest.startswith("41595ace1e540242")  # known answer: the order is the same on every machine


@pytest.mark.parametrize("knocked", [False, True])
def test_pixels_lie_between_white_and_black(parts: tuple[Images, ...], knocked: bool) -> None:
    for part in parts:
        pixels = (part.through_knocked_camera() if knocked else part).pixels_NP
        assert pixels.dtype == np.float32
        assert pixels.min() >= 0
        assert pixels.max() <= FULL


def test_the_knock_moves_right_and_takes_contrast_away() -> None:
    pixels = np.zeros((1, 64), np.float32)
    pixels[0, 3] = pixels[0, 7] = FULL  # the last pixel of a row falls off
    knocked = knock(pixels, np.array([0]))[0]
    bright = np.flatnonzero(knocked > 1)
    assert bright.tolist() == [4]
    assert 0.6 * FULL + 1 <= knocked[4] <= 0.8 * FULL + 1
    assert np.all(np.delete(knocked, 4) == 1.0)
    assert pixels[0, 3] == FULL  # the image itself stays


def test_an_image_changes_the_same_way_whatever_is_around_it(parts: tuple[Images, ...]) -> None:
    part = parts[0]
    whole = knock(part.pixels_NP, part.numbers_N)
    alone = np.concatenate([knock(part.pixels_NP[i : i + 1], part.numbers_N[i : i + 1]) for i in (5, 599)])
    assert np.array_equal(whole[[5, 599]], alone)
    turned = knock(part.pixels_NP[::-1], part.numbers_N[::-1])
    assert np.array_equal(turned[::-1], whole)


def test_the_table_has_key_pixels_and_label(parts: tuple[Images, ...]) -> None:
    table = parts[0].table()
    assert table.column_names == ["image", *(f"p{place:02d}" for place in range(64)), "label"]
    assert table.num_rows == FIRST_ROWS
    assert table.column("p10").to_numpy().tolist() == parts[0].pixels_NP[:, 10].tolist()
    knocked = parts[0].through_knocked_camera().table()
    assert knocked.column("image") == table.column("image")
    assert knocked.column("label") == table.column("label")
