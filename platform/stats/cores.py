"""Owns how many processors this process may use."""

import os


def num_threads() -> int:
    """Processors that the process may run on: fewer than the machine has, in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
