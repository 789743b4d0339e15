"""Free ports are told from busy ones, and the sentence about a busy one names port, setting and holder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
from rayloop.cluster import ports
from rayloop.cluster.ports import free_port, is_free, require_free_ports
from rayloop.platform.errors import Conflict

HOST = "127.0.0.1"


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_free_and_can_be_listened_on() -> None:
    port = free_port()
    assert is_free(HOST, port)
    with socket.create_server((HOST, port)):
        assert not is_free(HOST, port)
    assert is_free(HOST, port)


def test_a_port_that_only_waits_for_old_connections_is_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((HOST, port)):
            server.accept()[0].close()
    assert is_free(HOST, port)


def test_free_ports_pass() -> None:
    require_free_ports(HOST, {"RAYLOOP_EDGE_PORT": free_port(), "RAYLOOP_MLFLOW_PORT": free_port()})


def test_a_busy_port_is_named_with_its_setting_and_its_holder(busy: int) -> None:
    with pytest.raises(Conflict) as raised:
        require_free_ports(HOST, {"RAYLOOP_EDGE_PORT": free_port(), "RAYLOOP_MLFLOW_PORT": busy})
    said = str(raised.value)
    assert said.startswith(f"port {busy} (RAYLOOP_MLFLOW_PORT) is in use by ")
    assert f"(process {os.getpid()})" in said
    assert said.endswith("set RAYLOOP_MLFLOW_PORT to another port")


def test_a_holder_that_may_not_be_seen_stays_unnamed(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = SimpleNamespace(laddr=SimpleNamespace(port=busy), status=psutil.CONN_LISTEN, pid=None)
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [hidden])
    with pytest.raises(Conflict, match=rf"^port {busy} \(RAYLOOP_EDGE_PORT\) is in use: set RAYLOOP_EDGE_PORT"):
        require_free_ports(HOST, {"RAYLOOP_EDGE_PORT": busy})


def test_one_port_for_two_settings_is_refused() -> None:
    port = free_port()
    with pytest.raises(Conflict, match=f"^RAYLOOP_EDGE_PORT and RAYLOOP_MLFLOW_PORT are both {port}"):
        require_free_ports(HOST, {"RAYLOOP_EDGE_PORT": port, "RAYLOOP_MLFLOW_PORT": port})


def test_no_port_is_given_twice_nor_one_that_a_setting_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_spoken_for", set())
    drawn = iter([5, 5, 6, 7, 8])
    monkeypatch.setattr(ports.secrets, "randbelow", lambda _: next(drawn))
    monkeypatch.setattr(ports, "is_free", lambda _host, _port: True)
    assert [ports.free_port(), ports.free_port()] == [20_005, 20_006]
    ports.require_free_ports("127.0.0.1", {"RAYLOOP_EDGE_PORT": 20_007})
    assert ports.free_port() == 20_008
