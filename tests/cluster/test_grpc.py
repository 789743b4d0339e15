"""gRPC on a live cluster: a deployed version answers it by the same edge, and a killed replica costs no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from rayloop.serve.grpc.messages import SERVICE, message

from .conftest import TOY_PROJECT, Live, wait_until, write_rows

pytestmark = [pytest.mark.cluster, pytest.mark.live]

NAME = "called"
ROW = [1.5, 1.5, 1.5, 1.5]


@pytest.fixture(scope="module")
def project(live: Live, tmp_path_factory) -> Path:
    """A project whose first version is deployed with two replicas."""
    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "data").mkdir(parents=True)
    (folder / "rayloop.yaml").write_text(
        TOY_PROJECT.format(name=NAME, use="tabular", params="{}", workers=1, epochs=3, gpu="false")
    )
    write_rows(folder, "first", seed=1, rows=600)
    live.run("train", cwd=folder)
    live.run("deploy", NAME, "--version", "1", cwd=folder)
    live.run("scale-version", NAME, "1", "--replicas", "2", cwd=folder)
    wait_until(lambda: len(_replicas(live)) == 2, 60, "both replicas listen for gRPC")
    return folder


def test_a_version_answers_grpc_as_it_answers_http(live: Live, project: Path) -> None:
    with _channel(live) as channel:
        wait_until(lambda: _is_live(channel), 10, "the edge knows a replica")
        answer = _infer(channel)
    tensor = {"name": "x", "shape": [1, len(ROW)], "datatype": "FP32", "data": ROW}
    told = httpx.post(f"{live.settings.edge_url}/v2/models/{NAME}/infer", json={"inputs": [tensor]}).json()
    assert [output.name for output in answer.outputs] == [output["name"] for output in told["outputs"]]
    assert answer.model_version == told["model_version"] == "1"


def test_a_killed_replica_costs_no_answer(live: Live, project: Path) -> None:
    port = int(_replicas(live)[0].rpartition(":")[2])
    (victim,) = {
        found.pid for found in psutil.net_connections("tcp") if found.status == "LISTEN" and found.laddr.port == port
    }
    with _channel(live) as channel:
        for number in range(300):
            if number == 50:
                psutil.Process(victim).kill()
            assert _infer(channel).model_version == "1"
    wait_until(lambda: len(_replicas(live)) == 2 and str(port) not in "".join(_replicas(live)), 90, "another came up")


def _replicas(live: Live) -> list[str]:
    found = live.workspace.replicas.all()
    return [one.grpc_address for one in found if one.endpoint == NAME and one.grpc_address is not None]


def _channel(live: Live) -> Any:
    return grpc.insecure_channel(f"127.0.0.1:{live.settings.edge_grpc_port}")


def _is_live(channel: Any) -> bool:
    try:
        return bool(channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=5))
    except grpc.RpcError:
        return False


def _infer(channel: Any) -> Any:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(ROW)], "contents": {"fp32_contents": ROW}}
    content = message("ModelInferRequest", model_name=NAME, inputs=[tensor]).SerializeToString()
    answer = channel.unary_unary(f"/{SERVICE}/ModelInfer")(content, timeout=20)
    return type(message("ModelInferResponse")).FromString(answer)
