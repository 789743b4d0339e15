"""Where the jobs' plain classes become Ray actors."""

from __future__ import annotations

import ray

from ..platform.settings import Settings
from ..serve.wiring import NAMESPACE
from .steward import Steward

STEWARD_ACTOR = "rayloop-steward"


def start_steward(settings: Settings) -> None:
    """Start the steward, or leave the one that runs alone."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Steward)
    steward = actor.options(name=STEWARD_ACTOR, namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    ray.get(steward.remote(settings).state.remote())
