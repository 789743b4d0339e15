"""Imported by Ray in each process that it starts, and empty but in a training's worker, which then imports meanwhile.

It must cost nothing elsewhere: it knows the workers by a variable of their environment.
"""

from __future__ import annotations

import importlib
import os

WORKER_VARIABLE = "RAYLOOP_TRAINS"
# What comes before the first step: torch imports its compiler when the first optimizer is made.
MODULES = ("ray.train.torch", "rayloop.jobs.training.callback", "rayloop.jobs.training.worker", "torch._dynamo")

if WORKER_VARIABLE in os.environ:
    for module in MODULES:
        importlib.import_module(module)
