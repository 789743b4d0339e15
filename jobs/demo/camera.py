"""The demo's data: scikit-learn's handwritten digits, and a camera that was knocked out of place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SEED = 7
SIDE = 8  # pixels
FULL = 16.0  # the value of black
# The parts of the 1,797 images: what training begins with, what is labelled after the change, and what no
# training ever sees. The order is shuffled first, since the file holds one writer after another.
FIRST_ROWS, LABELLED_ROWS = 600, 800

# N = images, P = 64 pixels


@dataclass(frozen=True, slots=True)
class Images:
    """Some images: pixels (N, 64) float32 in 0..16, labels (N,) int64, and the number of each in the full set."""

    pixels_NP: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    numbers_N: NDArray[np.int64]

    def through_knocked_camera(self) -> Images:
        """The same images, seen after the change."""
        return Images(knock(self.pixels_NP, self.numbers_N), self.labels_N, self.numbers_N)

    def table(self) -> pa.Table:
        """Columns `image` (the key), `p00` to `p63`, and `label`."""
        pixels = {f"p{place:02d}": self.pixels_NP[:, place] for place in range(SIDE * SIDE)}
        return pa.table({"image": self.numbers_N, **pixels, "label": self.labels_N})


def load_parts() -> tuple[Images, Images, Images]:
    """First training rows, rows labelled after the change, and held-out rows; the same on every machine."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    parts = np.split(order, [FIRST_ROWS, FIRST_ROWS + LABELLED_ROWS])
    first, labelled, held_out = (
        Images(digits.data[p].astype(np.float32), digits.target[p].astype(np.int64), p.astype(np.int64)) for p in parts
    )
    return first, labelled, held_out


def knock(pixels_NP: NDArray[np.float32], numbers_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Move each image one pixel to the right and take contrast away; shape (N, 64).

    Contrast falls to between 60 % and 80 %, above a veil of light of 1 of 16; how far is drawn for each image
    from its own number, so one image always changes the same way.
    """
    images = pixels_NP.reshape(-1, SIDE, SIDE)
    moved = np.zeros_like(images)
    moved[:, :, 1:] = images[:, :, :-1]
    contrast_N = np.array([np.random.default_rng((SEED, int(n))).uniform(0.6, 0.8) for n in numbers_N])
    faded = moved * contrast_N[:, None, None] + 1.0
    clipped: NDArray[np.float64] = np.clip(faded, 0.0, FULL)
    return clipped.reshape(pixels_NP.shape).astype(np.float32)
