"""What Serve is told of replicas, and what its own autoscaler makes of our policy, by a clock of the test's own."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from rayloop.jobs.promotion import serve_options
from rayloop.platform.project import Project
from rayloop.platform.scaling import IDLE, IDLE_GRACE_S, ONGOING
from rayloop.platform.settings import Settings
from rayloop.platform.state import Deployment
from rayloop.serve.autoscaling import scaling_of, wanted_replicas
from rayloop.serve.batching import Batching
from rayloop.serve.versions import replicas_of, serve_config

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Serve's own models, at import
    from ray.serve import autoscaling_policy
    from ray.serve._private.common import DeploymentID, TimeStampedValue
    from ray.serve._private.deploy_utils import get_app_code_version
    from ray.serve.config import AutoscalingConfig, AutoscalingContext
    from ray.serve.schema import ServeDeploySchema
    from rayloop.serve.replica import ReplicaArguments, VersionReplica, build

# See scaling_of: there is no other way to say it yet.
pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")

FIXED = {"replicas": 2, "cpus": 0.5, "gpus": 0.25, "max_queue": 400}
BOUNDS = {
    "min": 0,
    "max": 4,
    "target_ongoing": 8.0,
    "upscale_delay_s": 5.0,
    "downscale_delay_s": 60.0,
    "idle_to_zero_s": 600.0,
}
BY_LOAD = {"autoscale": BOUNDS, "cpus": 0.5, "gpus": 0.25, "max_queue": 400}


def application(options: Mapping[str, Any]) -> dict[str, Any]:
    content = serve_config(Settings.load({}), [Deployment("digits", 3, "/models/3", options)])
    ServeDeploySchema.model_validate(content)
    (found,) = content["applications"]
    assert json.loads(json.dumps(found)) == found
    return found


def code_version(options: Mapping[str, Any]) -> str:
    """What Serve compares to know whether replicas must be restarted."""
    content = {"applications": [application(options)]}
    return str(get_app_code_version(ServeDeploySchema.model_validate(content).applications[0]))


def test_the_number_of_replicas_is_no_argument_of_a_replica() -> None:
    found = application(FIXED)
    assert found["deployments"] == [{"name": "Version", "num_replicas": 2}]
    assert found["args"] == {
        "endpoint": "digits",
        "version": 3,
        "artifact": "/models/3",
        "cpus": 0.5,
        "gpus": 0.25,
        "max_queue": 400,
    }
    assert application({})["deployments"][0]["num_replicas"] == 1


def test_another_number_or_other_bounds_are_the_same_code_to_serve() -> None:
    assert code_version({**FIXED, "replicas": 7}) == code_version(FIXED)
    changed = {**BOUNDS, "min": 2, "max": 9, "target_ongoing": 1.0, "upscale_delay_s": 0.0, "idle_to_zero_s": 1.0}
    assert code_version({**BY_LOAD, "autoscale": changed}) == code_version(BY_LOAD)
    assert code_version({**FIXED, "cpus": 1.0}) != code_version(FIXED)


def test_the_one_deployment_has_the_name_that_is_overridden() -> None:
    assert VersionReplica.name == application(FIXED)["deployments"][0]["name"]


def test_arguments_reach_the_replica_and_its_resources() -> None:
    given = {**application(FIXED)["args"], "batch_wait_ms": 5, "request_timeout_s": 7, "max_batch_rows": 64}
    arguments = ReplicaArguments.model_validate(given)
    batching = arguments.batching()
    assert (batching.max_batch_rows, batching.batch_wait_s, batching.max_queue) == (64, 0.005, 400)
    assert batching.request_timeout_s == 7
    deployment = build(arguments)._bound_deployment
    assert deployment.ray_actor_options == {"num_cpus": 0.5, "num_gpus": 0.25}
    assert deployment.max_ongoing_requests == 400


def test_what_a_project_says_is_what_a_replica_takes() -> None:
    project = Project.model_validate({"name": "digits", "data": {"source": "a", "target": "b"}})
    defaults = application(serve_options(project))["args"]
    bare = {"endpoint": "digits", "version": 3, "artifact": "/models/3"}
    assert ReplicaArguments.model_validate(defaults) == ReplicaArguments.model_validate(bare)
    assert set(defaults) == set(ReplicaArguments.model_fields) - {"origin"}
    assert ReplicaArguments.model_validate(bare).batching() == Batching()


class Cluster:
    """A version whose replicas start and stop at once, under Serve's own autoscaler around our policy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bounds: Mapping[str, Any] = BOUNDS) -> None:
        given = scaling_of({"autoscale": bounds})["autoscaling_config"]
        self.config = AutoscalingConfig(**given)
        # The policy travels as a pickle to Serve's controller.
        self._policy = autoscaling_policy._apply_autoscaling_config(self.config.policy.get_policy())
        self._state: dict[str, Any] = {}
        self.now_s, self.replicas = 1_000.0, 0
        monkeypatch.setattr(autoscaling_policy.time, "time", lambda: self.now_s)

    def wait(self, seconds: float, *, ongoing: float = 0.0, queued: float = 0.0, idle_s: float = 0.0) -> int:
        """Let time pass under one load in all; the replicas at its end. The edge's requests never show to Serve."""
        for _ in range(round(seconds * 2)):
            self.now_s += 0.5
            names = [f"r{number}" for number in range(self.replicas)]
            share = ongoing / self.replicas if self.replicas else 0.0
            reported = {
                ONGOING: {name: [TimeStampedValue(self.now_s, share)] for name in names},
                IDLE: {name: [TimeStampedValue(self.now_s, idle_s)] for name in names},
            }
            context = AutoscalingContext(
                deployment_id=DeploymentID("Version", "digits--v3"),
                deployment_name="Version",
                app_name="digits--v3",
                current_num_replicas=self.replicas,
                target_num_replicas=self.replicas,
                running_replicas=[],
                total_num_requests=queued,
                total_queued_requests=queued,
                aggregated_metrics={},
                raw_metrics=reported,
                capacity_adjusted_min_replicas=self.config.min_replicas,
                capacity_adjusted_max_replicas=self.config.max_replicas,
                policy_state=dict(self._state),
                last_scale_up_time=None,
                last_scale_down_time=None,
                current_time=self.now_s,
                config=self.config,
            )
            wanted, self._state = self._policy(context)
            self.replicas = min(max(int(wanted), self.config.min_replicas), self.config.max_replicas)
        return self.replicas


@pytest.fixture
def make_cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    return lambda **changed: Cluster(monkeypatch, {**BOUNDS, **changed})


def test_from_none_at_once(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    assert cluster.wait(100) == 0
    assert cluster.wait(0.5, queued=1) == 1


def test_up_after_the_delay_and_never_over_the_bound(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.wait(0.5, queued=1)
    assert cluster.wait(4.5, ongoing=20) == 1
    assert cluster.wait(1.0, ongoing=20) == 3
    assert cluster.wait(60, ongoing=20) == 3
    assert cluster.wait(60, ongoing=500) == 4


def test_a_burst_shorter_than_the_delay_starts_nothing(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.wait(0.5, queued=1)
    for _ in range(5):
        assert cluster.wait(4, ongoing=20) == 1
        assert cluster.wait(1, ongoing=8) == 1


def test_down_after_the_delay_and_not_below_one_while_somebody_asks(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.wait(0.5, queued=1)
    cluster.wait(10, ongoing=32)
    assert cluster.wait(59, ongoing=8) == 4
    assert cluster.wait(2, ongoing=8) == 1
    assert cluster.wait(5_000, ongoing=0, idle_s=1.0) == 1  # a request each second, over before the next sample


def test_to_none_only_after_the_idle_time(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    cluster.wait(0.5, queued=1)
    # The replicas count as idle from the grace on, which the delay is shorter by.
    assert cluster.wait(600 - IDLE_GRACE_S - 1, idle_s=IDLE_GRACE_S) == 1
    cluster.wait(0.5, idle_s=0.0)
    assert cluster.wait(600 - IDLE_GRACE_S - 1, idle_s=IDLE_GRACE_S) == 1
    assert cluster.wait(2, idle_s=IDLE_GRACE_S) == 0


def test_never_below_the_bound(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(min=2)
    assert cluster.wait(5_000, idle_s=5_000.0) == 2


def test_the_policy_says_what_it_wants_once(
    make_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = make_cluster()
    cluster.wait(0.5, queued=1)
    logger = logging.getLogger("ray.serve")  # which hands nothing on to the root
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(caplog.handler)
    try:
        cluster.wait(4, ongoing=20)
    finally:
        logger.removeHandler(caplog.handler)
    assert set(caplog.messages) == {
        "digits--v3: 3 replicas are wanted: 20 requests are ongoing, 8 a replica are wanted"
    }
    assert len([record for record in caplog.records if record.name == logger.name]) in {1, 2}  # twice if handed on


def test_the_policy_is_found_by_the_name_that_serve_is_given() -> None:
    name = scaling_of({"autoscale": BOUNDS})["autoscaling_config"]["policy"]["policy_function"]
    module, attribute = name.split(":")
    assert (module, attribute) == (wanted_replicas.__module__, wanted_replicas.__name__)


def test_replicas_are_counted_in_what_serve_says() -> None:
    replicas = [{"state": "RUNNING"}, {"state": "STARTING"}, {"state": "STOPPING"}, {"state": "RUNNING"}]
    state = {"deployments": {"Version": {"target_num_replicas": 3, "replicas": replicas}}}
    assert str(replicas_of(state)) == "2/3"
    assert str(replicas_of({})) == "0/0"
