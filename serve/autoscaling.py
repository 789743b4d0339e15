"""Tells Ray Serve how many replicas a version has: a fixed number, or bounds and the policy that it shall call.

Serve's own count of ongoing requests misses those that the edge asks replicas for directly, so the policy goes by
what each replica reports of itself, and by Serve's count for those that wait while there is no replica.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..platform.scaling import IDLE, IDLE_GRACE_S, ONGOING, SAMPLE_PERIOD_S, Limits, Load, decide

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

DEPLOYMENT = "Version"  # the name of the one deployment in each application
# Serve hashes it, as all of the `policy`, into the code version: to change it restarts every replica.
POLICY = "rayloop.serve.autoscaling:wanted_replicas"
LOOK_BACK_S = 5.0  # over which the reported load is averaged

_SCALING_OPTIONS = frozenset({"replicas", "autoscale"})
_SAID = "said"

_logger = logging.getLogger("ray.serve")


def scaling_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a version's options that Serve applies without restarting a replica."""
    chosen = options.get("autoscale")
    if chosen is None:
        return {"name": DEPLOYMENT, "num_replicas": int(options.get("replicas", 1))}
    return {
        "name": DEPLOYMENT,
        "num_replicas": "auto",
        "autoscaling_config": {
            "min_replicas": chosen["min"],
            "max_replicas": chosen["max"],
            "target_ongoing_requests": chosen["target_ongoing"],
            "upscale_delay_s": chosen["upscale_delay_s"],
            "downscale_delay_s": chosen["downscale_delay_s"],
            # The policy wants no replica only after the grace.
            "downscale_to_zero_delay_s": max(0.0, chosen["idle_to_zero_s"] - IDLE_GRACE_S),
            # Serve calls it deprecated, but reads nothing else: the variable that shall replace it is not in use yet.
            "metrics_interval_s": SAMPLE_PERIOD_S,
            "look_back_period_s": LOOK_BACK_S,
            "policy": {"policy_function": POLICY},
        },
    }


def arguments_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The other part: what a replica is built with. Serve restarts all replicas when it changes."""
    return {name: value for name, value in options.items() if name not in _SCALING_OPTIONS}


def wanted_replicas(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """The policy, as Serve calls it in its controller ten times a second; the state keeps what was said last."""
    low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    scale = decide(load_of(context), Limits(low, high, context.config.target_ongoing_requests))
    if scale.replicas not in {context.target_num_replicas, context.policy_state.get(_SAID)}:
        _logger.info("%s: %d replicas are wanted: %s", context.app_name, scale.replicas, scale.reason)
    return scale.replicas, {_SAID: scale.replicas}


def load_of(context: AutoscalingContext) -> Load:
    """What the replicas have reported, each over the last seconds."""
    reported = context.raw_metrics or {}
    ongoing = [series for series in reported.get(ONGOING, {}).values() if series]
    idle = [series[-1].value for series in reported.get(IDLE, {}).values() if series]
    return Load(
        wanted=context.target_num_replicas,
        running=context.current_num_replicas,
        reporting=len(idle),
        ongoing=sum(sum(point.value for point in series) / len(series) for series in ongoing),
        queued=context.total_queued_requests or 0.0,
        idle_s=min(idle, default=0.0),
    )
