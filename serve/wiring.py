"""Where serving's plain classes become Ray actors."""

from __future__ import annotations

import ray

from ..platform.settings import Settings
from .keeper import EdgeKeeper

NAMESPACE = "rayloop"
EDGE_ACTOR = "rayloop-edge"


def start_edge_keeper(settings: Settings) -> None:
    """Start the keeper on this node, or leave the one that runs alone."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(EdgeKeeper)
    keeper = actor.options(name=EDGE_ACTOR, namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    ray.get(keeper.remote(settings).state.remote())
