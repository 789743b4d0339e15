"""Decides how many replicas a version should have under the load that they report; it counts and starts none.

How long a wish must last before it is granted is Ray Serve's business: it holds each decision back for the delays
of its configuration, except for the first replica after none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ONGOING, IDLE = "ongoing", "idle_s"  # names of what a replica reports

SAMPLE_PERIOD_S = 1.0  # how often a replica samples and reports its load
# Two samples: a report that was overtaken by the next one still shows in that one.
IDLE_GRACE_S = 2 * SAMPLE_PERIOD_S
TOLERANCE = 0.1  # a load this near to the target moves nothing: the samples of a steady load differ by as much


@dataclass(frozen=True, slots=True)
class Limits:
    """Between which bounds, and at which load."""

    min_replicas: int
    max_replicas: int
    target_ongoing: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is known of a version's replicas at one moment."""

    wanted: int
    """How many replicas there should be by the last decision."""
    running: int
    """How many there are."""
    reporting: int
    """How many of those have reported their load yet."""
    ongoing: float
    """Requests in flight or waiting on all of them, on average over the last seconds."""
    queued: float
    """Requests that wait for a replica, since there is none or since all are full."""
    idle_s: float
    """How long no replica has had a request."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many replicas are wanted now."""

    replicas: int
    reason: str


def decide(load: Load, limits: Limits) -> Scale:
    """How many replicas keep each of them near the target.

    >>> decide(Load(wanted=2, running=2, reporting=2, ongoing=40.0, queued=0.0, idle_s=0.0), Limits(0, 8, 8.0))
    Scale(replicas=5, reason='40 requests are ongoing, 8 a replica are wanted')
    """
    demand = load.ongoing + load.queued
    needed = math.ceil(demand / limits.target_ongoing)
    reason = f"{demand:.3g} requests are ongoing, {limits.target_ongoing:g} a replica are wanted"
    per_replica = demand / load.wanted if load.wanted else 0.0
    if abs(per_replica / limits.target_ongoing - 1) <= TOLERANCE:
        needed = load.wanted
    if load.reporting < load.running and needed < load.wanted:
        needed = load.wanted
        reason = f"{load.running - load.reporting} of {load.running} replicas have not told their load yet"
    if needed == 0 and load.running and load.idle_s < IDLE_GRACE_S:
        needed, reason = 1, f"the last request was {load.idle_s:.1f} s ago"
    bounded = min(max(needed, limits.min_replicas), limits.max_replicas)
    if bounded != needed:
        reason += f"; the bounds are {limits.min_replicas} and {limits.max_replicas}"
    return Scale(bounded, reason)


class LoadMeter:
    """Turns two counts of a replica into the load that it reports; time is an argument, in seconds."""

    def __init__(self, now_s: float) -> None:
        self._answered, self._busy_s = 0, now_s

    def sample(self, ongoing: int, answered: int, now_s: float) -> dict[str, float]:
        """The load now; `answered` counts requests since the start, so that a quick one between two samples shows."""
        if ongoing or answered != self._answered:
            self._busy_s = now_s
        self._answered = answered
        return {ONGOING: float(ongoing), IDLE: now_s - self._busy_s}
