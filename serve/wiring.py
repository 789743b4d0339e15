"""Where serving's plain classes become Ray actors."""

from __future__ import annotations

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..platform.settings import Settings
from .keeper import EdgeKeeper

NAMESPACE = "rayloop"
EDGE_ACTOR = "rayloop-edge"


def start_edge_keeper(settings: Settings) -> None:
    """Start the keeper on this node, or leave the one that runs alone."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(EdgeKeeper)
    options = {"name": EDGE_ACTOR, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    keeper = actor.options(**options, scheduling_strategy=on_this_node())
    ray.get(keeper.remote(settings).state.remote())


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Start an actor where this is called; those that ask for no CPU would be placed anywhere."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
