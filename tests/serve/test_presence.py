"""A replica says where it listens, for gRPC too where a port is set, and takes it back before it stops."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from rayloop.platform.errors import Unavailable
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.platform.settings import Settings
from rayloop.platform.state import Deployment
from rayloop.platform.state.replicas import YOUNG_S
from rayloop.platform.workspace import Workspace
from rayloop.serve.keeper import desired_traffic, edge_settings
from rayloop.serve.presence import Presence
from rayloop.serve.service import VersionService

SIGNATURE = Signature((ColumnSpec("x", "FP32"),), (ColumnSpec("y", "FP32"),))
HEAD = {"x-rayloop-secret": "secret", "x-rayloop-endpoint": "m", "x-rayloop-version": "1"}


class Same:
    signature = SIGNATURE

    def predict(self, columns: Columns) -> Columns:
        return {"y": np.asarray(columns["x"])}


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    made = Workspace(Settings.load({"RAYLOOP_EDGE_GRPC_PORT": "8081"}, home=tmp_path))
    made.endpoints.add_deployment(Deployment("m", 1, "artifact", {}))
    yield made
    made.close()


def test_the_edge_finds_both_ports_and_then_neither(workspace: Workspace) -> None:
    assert edge_settings(workspace).grpc_port == 8081
    presence, service = Presence(workspace, "r1", "127.0.0.1", 1024), VersionService("m", 1, Same(), "secret")
    assert desired_traffic(workspace).grpc_replicas == {}
    presence.begin(service)
    traffic = desired_traffic(workspace)
    (address,), (grpc_address,) = traffic.replicas["m--v1"], traffic.grpc_replicas["m--v1"]
    assert httpx.get(f"http://{address}/v2/models/m/ready", headers=HEAD).status_code == 200
    with grpc.insecure_channel(grpc_address) as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
        assert ready(b"", timeout=5, metadata=list(HEAD.items())) == b"\x08\x01"
        presence.end()
        assert (desired_traffic(workspace).replicas, desired_traffic(workspace).grpc_replicas) == ({}, {})
        with pytest.raises(grpc.RpcError):
            ready(b"", timeout=1, metadata=list(HEAD.items()))
    service.close()


def test_without_a_port_there_is_no_grpc(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rayloop.serve.grpc", None)  # which can't be imported then
    presence, service = Presence(workspace, "r1", "127.0.0.1"), VersionService("m", 1, Same(), "secret")
    presence.begin(service)
    (replica,) = workspace.replicas.all()
    assert replica.grpc_address is None
    presence.end()
    service.close()


def test_a_listener_that_has_died_is_named(workspace: Workspace) -> None:
    presence = Presence(workspace, "r1", "127.0.0.1")
    with pytest.raises(Unavailable, match=presence.address):
        presence.check()
    service = VersionService("m", 1, Same(), "secret")
    presence.begin(service)
    presence.check()
    presence.end()
    with pytest.raises(Unavailable, match=presence.address):
        presence.check()
    service.close()


def test_what_was_forgotten_is_said_again_until_the_end(workspace: Workspace) -> None:
    presence, service = Presence(workspace, "r1", "127.0.0.1"), VersionService("m", 1, Same(), "secret")
    presence.begin(service)
    said = workspace.replicas.all()
    assert workspace.replicas.keep(set(), time.time() + YOUNG_S + 1) == 1
    presence.check()
    assert workspace.replicas.all() == said
    presence.end()
    assert workspace.replicas.all() == []
    service.close()
