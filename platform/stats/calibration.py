"""Owns limits made from chunks of the reference: how much each column differs while nothing drifts; judges nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InvalidInput
from .drift import ColumnLimits
from .limits import DriftLimits
from .measures import measure
from .profiles import Profile

Method = Literal["sigma", "quantile"]

SIGMAS = 3.0
QUANTILE = 0.99
ENOUGH_CHUNKS = 6
"""Fewer say little of the spread: NannyML warns below so many, and takes 10 by default."""
LEAST_LIMIT = 1e-9


@dataclass(frozen=True, slots=True)
class Calibration:
    """Limits of each column, for `compare(..., calibrated=found.limits)`."""

    limits: Mapping[str, ColumnLimits]
    """By column, then by the statistic's name."""
    num_chunks: int
    method: Method
    warning: str | None
    """Why the limits should not be trusted; None where they may."""


def calibrate(
    reference: Profile,
    chunks: Sequence[Profile],
    limits: DriftLimits | None = None,
    *,
    method: Method = "sigma",
    quantile: float = QUANTILE,
    least_share: float = 0.0,
) -> Calibration:
    """Measure chunks of the reference against it, and take what they show for the limit of each judged statistic.

    `sigma`: their mean and three standard deviations; `quantile`: that share of them lies below. Cut the chunks
    in time order and as long as the windows to be judged: then the usual week's ups and downs are in the limit.
    `least_share` keeps each limit at this share or more of the absolute one in `limits`. Raises `InvalidInput`
    below two chunks, for a chunk without rows, or on other bins. Source: NannyML's StandardDeviationThreshold.
    """
    if len(chunks) < 2:
        raise InvalidInput(f"calibration needs at least 2 chunks of the reference, but got {len(chunks)}")
    if method not in ("sigma", "quantile") or not 0 < quantile <= 1 or not least_share >= 0:
        rule = "must be sigma or quantile, a quantile in (0, 1] and a share not below 0"
        raise InvalidInput(f"the method {method!r}, quantile {quantile} and least_share {least_share} {rule}")
    for place, chunk in enumerate(chunks):
        reference.require_same_bins(chunk)
        if not chunk.rows:
            raise InvalidInput(f"chunk {place} has no rows, but calibration needs some in each")
    limits = limits or DriftLimits()
    found: dict[str, ColumnLimits] = {}
    for name, column in reference.columns.items():
        seen = [measure(column, chunk.columns[name]).statistics for chunk in chunks]
        found[name] = {
            statistic: max(_limit(values, method, quantile), least_share * absolute, LEAST_LIMIT)
            for statistic, absolute in limits.of(column).items()
            if (values := [one for chunk in seen if (one := chunk[statistic]) is not None])
        }
    warning = None
    if len(chunks) < ENOUGH_CHUNKS:
        warning = f"{len(chunks)} chunks say little of the spread: use {ENOUGH_CHUNKS} or more"
    return Calibration(found, len(chunks), method, warning)


def _limit(values: Sequence[float], method: Method, quantile: float) -> float:
    if method == "quantile":
        return float(np.quantile(values, quantile))
    mean = math.fsum(values) / len(values)
    return mean + SIGMAS * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
