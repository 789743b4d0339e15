"""What a person reads of a version's replicas."""

from __future__ import annotations

import pytest
from rayloop.cluster import free_port
from rayloop.jobs.terminal import count_replicas, describe_deployment
from rayloop.platform.settings import Settings
from rayloop.platform.state import Deployment
from rayloop.serve.versions import Replicas

BOUNDS = {"min": 0, "max": 8}


@pytest.mark.parametrize(
    ("options", "counted", "said"),
    [
        ({"replicas": 2}, {"digits--v3": Replicas(1, 2)}, "v3 (1/2 replicas)"),
        ({"autoscale": BOUNDS}, {"digits--v3": Replicas(0, 0)}, "v3 (0/0 replicas, 0 to 8 by load)"),
        ({"replicas": 2}, {"digits--v4": Replicas(1, 1)}, "v3 (unknown to Serve)"),
    ],
)
def test_a_deployment_is_described(options: dict[str, object], counted: dict[str, Replicas], said: str) -> None:
    assert describe_deployment(Deployment("digits", 3, "/models/3", options), counted) == said


def test_without_a_cluster_nothing_is_counted() -> None:
    assert count_replicas(Settings.load({}, address=f"http://127.0.0.1:{free_port()}")) == {}
