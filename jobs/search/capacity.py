"""How many trials a cluster has room for; it asks no cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...platform.errors import Unavailable
from ...platform.project import Project


@dataclass(frozen=True, slots=True)
class Shape:
    """What one trial takes: so many workers, each with so many CPUs and GPUs of one node."""

    workers: int
    cpus: float
    gpus: float

    @classmethod
    def of(cls, project: Project) -> Shape:
        """Whole GPUs are one worker each; a fraction, or none, is one worker."""
        gpus = (project.search.gpus_per_trial or 1.0) if project.train.gpu else 0.0
        workers = int(gpus) if gpus > 1 else 1
        return cls(workers, project.train.cpus_per_worker, min(gpus, 1.0))

    @property
    def bundle(self) -> dict[str, float]:
        """One worker, as Ray counts."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}

    def __str__(self) -> str:
        gpus = f" and {self.workers * self.gpus:g} GPU" if self.gpus else ""
        return f"{self.workers * self.cpus:g} CPU{gpus}"


@dataclass(frozen=True, slots=True)
class Room:
    """How many trials run at a time, and what to say where that is fewer than were wanted."""

    concurrent: int
    reason: str = ""


def room(shape: Shape, wanted: int, nodes: Sequence[Mapping[str, float]]) -> Room:
    """Cap the wanted number by what the nodes have. Raises Unavailable where not even one trial fits."""
    places = sum(_fits(shape, node) for node in nodes)
    fitting = places // shape.workers
    have = [math.fsum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")]
    owned = f"the cluster has {have[0]:g} CPUs and {have[1]:g} GPUs on {len(nodes)} node(s)"
    if fitting < 1:
        raise Unavailable(f"a trial takes {shape}, and {owned}: {_hint(shape, have[1])}")
    if fitting < wanted:
        return Room(fitting, f"{wanted} trials at a time are capped to {fitting}: a trial takes {shape}, and {owned}")
    return Room(wanted)


def _hint(shape: Shape, gpus: float) -> str:
    if shape.gpus and not gpus:
        return "set train.gpu to false, or connect to a cluster with GPUs"
    return "lower search.gpus_per_trial or train.cpus_per_worker" if shape.gpus else "lower train.cpus_per_worker"


def _fits(shape: Shape, node: Mapping[str, float]) -> int:
    """How many workers fit on one node; fractions of a GPU share one, and none lies on two."""
    by_cpu = math.floor(node.get("CPU", 0.0) / shape.cpus + 1e-9)
    if not shape.gpus:
        return by_cpu
    by_gpu = math.floor(node.get("GPU", 0.0)) * math.floor(1 / shape.gpus + 1e-9)
    return min(by_cpu, by_gpu)
