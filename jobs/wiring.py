"""Where the jobs' plain classes become Ray actors."""

from __future__ import annotations

import ray

from ..platform.settings import Settings
from ..serve.wiring import NAMESPACE, on_this_node
from .control.server import ControlServer
from .steward import Steward

STEWARD_ACTOR = "rayloop-steward"
CONTROL_ACTOR = "rayloop-control"


def start_steward(settings: Settings) -> None:
    """Start the steward, or leave the one that runs alone."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Steward)
    steward = actor.options(name=STEWARD_ACTOR, namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    ray.get(steward.remote(settings).state.remote())


def start_control(settings: Settings) -> ray.ObjectRef:
    """Start the control API beside the edge, which asks it by a socket, or leave the one that runs alone.

    Gives what `ray.get` waits for until it answers: its start takes seconds, and other things may be started meanwhile.
    """
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(ControlServer)
    options = {"name": CONTROL_ACTOR, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    control = actor.options(**options, scheduling_strategy=on_this_node()).remote(settings)
    return control.wait.remote()
