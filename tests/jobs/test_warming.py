"""Processes are started ahead where the workers will lie, and import ahead in a training's workers alone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from rayloop.jobs.training.preload import WORKER_VARIABLE
from rayloop.jobs.training.warming import _placed, _with
from rayloop.platform.project.training import TrainConfig


def node(cpus: float, gpus: float = 0.0) -> dict[str, Any]:
    return {"Resources": {"CPU": cpus, **({"GPU": gpus} if gpus else {})}}


@pytest.mark.parametrize(
    ("train", "nodes", "wanted"),
    [
        ({"workers": 2}, [node(8)], [2]),
        ({"workers": 3, "cpus_per_worker": 2}, [node(4), node(4)], [2, 1]),
        ({"workers": 2, "cpus_per_worker": 5}, [node(8), node(6)], [1, 1]),
        ({"workers": 2, "gpu": True}, [node(8), node(8, 4)], [0, 2]),
        ({"workers": {"min": 1, "max": 8}}, [node(8)], [1]),
        ({"workers": 4}, [node(2)], [2]),
    ],
)
def test_workers_are_packed_as_ray_packs_them(
    train: dict[str, Any], nodes: list[dict[str, Any]], wanted: list[int]
) -> None:
    found = {id(one): workers for one, workers in _placed(nodes, TrainConfig(**train))}
    assert [found.get(id(one), 0) for one in nodes] == wanted


def test_an_environment_adds_to_the_job_s_own() -> None:
    job = {"working_dir": "gcs://a.zip", "env_vars": {"A": "1", "B": "2"}}
    assert _with(job, {"B": "3"}) == {"working_dir": "gcs://a.zip", "env_vars": {"A": "1", "B": "3"}}
    assert job["env_vars"] == {"A": "1", "B": "2"}


@pytest.mark.parametrize(("variables", "is_imported"), [({}, False), ({WORKER_VARIABLE: "1"}, True)])
def test_only_a_worker_of_a_training_imports_ahead(variables: dict[str, str], is_imported: bool) -> None:
    code = "import sys, rayloop.jobs.training.preload; print('torch' in sys.modules)"
    kept = {name: value for name, value in os.environ.items() if name != WORKER_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **variables}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(is_imported)]
