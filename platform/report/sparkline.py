"""Owns how a distribution looks in one line of a terminal; it knows counts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 12


def sparkline(heights: Sequence[float], highest: float | None = None) -> str:
    """Draw heights as blocks; what is not zero is never blank.

    >>> sparkline([0, 1, 4, 8])
    ' ▁▄█'
    """
    top = max(heights, default=0.0) if highest is None else highest
    if top <= 0:
        return BLOCKS[0] * len(heights)
    steps = len(BLOCKS) - 1
    return "".join(BLOCKS[0 if one <= 0 else max(1, min(steps, round(one / top * steps)))] for one in heights)


def sparklines(shape: Mapping[str, Any], width: int = WIDTH) -> tuple[str, str]:
    """Draw the reference and the window of a document's shape, on one scale: the same height is the same density.

    A density is drawn over equal parts of the axis, anything else a block for each bar while they fit.
    """
    sides = [_over_axis(shape, side, width) for side in ("reference", "window")]
    # Each side in shares of its own rows, or a small window would look like no rows at all.
    scaled = [[one / (sum(heights) or 1.0) for one in heights] for heights in sides]
    top = max(max(heights, default=0.0) for heights in scaled)
    drawn = [sparkline(heights, top).ljust(width) for heights in scaled]
    return drawn[0], drawn[1]


def _over_axis(shape: Mapping[str, Any], side: str, width: int) -> list[float]:
    counts: Sequence[float] = shape[side]
    if shape["draw"] != "density":
        return [float(one) for one in counts[:width]]
    places: Sequence[float] = shape["positions"]
    cells = [0.0] * width
    for count, low, high in zip(counts, places, places[1:], strict=False):
        for cell in range(min(int(low * width), width - 1), width):
            covered = min(high, (cell + 1) / width) - max(low, cell / width)
            if covered <= 0:
                break
            cells[cell] += count * covered / (high - low)
    return cells
