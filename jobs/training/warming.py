"""Has the processes of a training started while its job still imports; without it a training begins seconds later.

Ray gives an idle process to the next actor of its job whose environment is the same, letter by letter.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import ray
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2

from ...platform.project.training import TrainConfig
from .preload import WORKER_VARIABLE

logger = logging.getLogger(__name__)

TIMEOUT_S = 2.0
KEPT_S = 60  # a process that nobody asks for ends then
WORKER_VARIABLES: Mapping[str, str] = {WORKER_VARIABLE: "1"}
"""What the environment of Ray Train's workers has beside that of its controller."""


def warm_up(train: TrainConfig) -> None:
    """Ask for a process for the controller, and for as many workers as are the least. What can't be had is left out."""
    context = ray.get_runtime_context()
    # As Ray Train makes it for its controller: the job's own, and these.
    base = {name: value for name, value in os.environ.items() if name.startswith("RAY_TRAIN_")}
    base["RAY_WARN_BLOCKING_GET_INSIDE_ASYNC"] = "0"
    job = json.loads(context.get_runtime_env_string() or "{}")
    try:
        nodes = sorted(_living(), key=lambda node: bool(node["NodeID"] != context.get_node_id()))
        _prestart(nodes[0], _with(job, base), 1)
        for node, workers in _placed(nodes, train):
            _prestart(node, _with(job, {**base, **WORKER_VARIABLES}), workers)
    except (grpc.RpcError, IndexError) as error:
        logger.debug("no process was started ahead: %s", error)


def _living() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _placed(nodes: Sequence[dict[str, Any]], train: TrainConfig) -> Iterator[tuple[dict[str, Any], int]]:
    """Where the workers will lie if nobody else asks: Ray packs them."""
    left = train.least_workers
    for node in nodes:
        room = int(node["Resources"].get("CPU", 0.0) / train.cpus_per_worker)
        if train.gpu:
            room = min(room, int(node["Resources"].get("GPU", 0.0)))
        if here := min(left, room):
            left -= here
            yield node, here


def _with(job: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    return {**job, "env_vars": {**job.get("env_vars", {}), **variables}}


def _prestart(node: Mapping[str, Any], environment: Mapping[str, Any], count: int) -> None:
    # The letters of Ray's own: processes are matched by the text.
    text = json.dumps(environment, sort_keys=True, separators=(",", ":"))
    info = runtime_environment_pb2.RuntimeEnvInfo(serialized_runtime_env=text)
    if uri := environment.get("working_dir"):
        info.uris.working_dir_uri = uri
    request = node_manager_pb2.PrestartWorkersRequest(
        language=common_pb2.PYTHON,
        job_id=bytes.fromhex(ray.get_runtime_context().get_job_id()),
        runtime_env_info=info,
        keep_alive_duration_secs=KEPT_S,
        num_workers=count,
    )
    with grpc.insecure_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}") as channel:
        node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=TIMEOUT_S)
