"""How many trials fit: by CPUs, by whole GPUs, by fractions that share one, over several nodes."""

from __future__ import annotations

from typing import Any

import pytest
from rayloop.jobs.search.capacity import Shape, room
from rayloop.platform.errors import Unavailable
from rayloop.platform.project import Project


def shape(gpus_per_trial: float | None = None, **train: Any) -> Shape:
    project = {"name": "toy", "data": {"source": "s", "target": "y"}, "train": train}
    return Shape.of(Project.model_validate({**project, "search": {"gpus_per_trial": gpus_per_trial}}))


def test_what_a_trial_takes() -> None:
    assert shape(cpus_per_worker=2) == Shape(1, 2, 0)
    assert shape(gpu=True) == Shape(1, 1, 1)
    assert shape(0.25, gpu=True) == Shape(1, 1, 0.25)
    assert shape(4, gpu=True, cpus_per_worker=3) == Shape(4, 3, 1)
    assert shape(4, gpu=True).bundle == {"CPU": 1, "GPU": 1}
    assert shape().bundle == {"CPU": 1}


@pytest.mark.parametrize(
    ("wanted", "trial", "nodes", "concurrent"),
    [
        (8, Shape(1, 1, 0), [{"CPU": 2}], 2),
        (1, Shape(1, 1, 0), [{"CPU": 2}], 1),
        (8, Shape(1, 0.5, 0), [{"CPU": 2}], 4),
        (8, Shape(1, 3, 0), [{"CPU": 4}, {"CPU": 4}], 2),  # 8 CPUs, and 3 of one node each
        (8, Shape(1, 1, 1), [{"CPU": 16, "GPU": 4}], 4),
        (8, Shape(1, 1, 0.3), [{"CPU": 16, "GPU": 2}], 6),  # three on each GPU, none on two
        (8, Shape(2, 1, 1), [{"CPU": 8, "GPU": 3}, {"CPU": 8, "GPU": 1}], 2),
    ],
)
def test_the_cluster_caps(wanted: int, trial: Shape, nodes: list[dict[str, float]], concurrent: int) -> None:
    found = room(trial, wanted, nodes)
    assert found.concurrent == concurrent
    assert bool(found.reason) is (concurrent < wanted)


def test_the_cap_is_one_sentence() -> None:
    assert room(Shape(1, 1, 0), 8, [{"CPU": 2}]).reason == (
        "8 trials at a time are capped to 2: a trial takes 1 CPU, and the cluster has 2 CPUs and 0 GPUs on 1 node(s)"
    )


def test_a_trial_that_fits_nowhere_is_refused_before_it_waits() -> None:
    with pytest.raises(Unavailable) as raised:
        room(Shape(4, 1, 1), 2, [{"CPU": 8, "GPU": 2}])
    assert str(raised.value) == (
        "a trial takes 4 CPU and 4 GPU, and the cluster has 8 CPUs and 2 GPUs on 1 node(s): lower "
        "search.gpus_per_trial or train.cpus_per_worker"
    )
    with pytest.raises(Unavailable, match=r"0 GPUs on 1 node.*: set train.gpu to false, or connect to a cluster"):
        room(Shape(1, 1, 1), 2, [{"CPU": 8}])
    with pytest.raises(Unavailable, match=r"a trial takes 9 CPU, .*: lower train.cpus_per_worker$"):
        room(Shape(1, 9, 0), 2, [{"CPU": 8}, {"CPU": 8}])
