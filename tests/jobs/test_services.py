"""What a dead cluster left behind is cleared before the next one chooses its addresses."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import psutil
import pytest
from rayloop.jobs import services
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.settings import CLUSTER_FILE, Settings
from rayloop.platform.workspace import Workspace


@pytest.fixture
def dead(own_home: Path) -> Path:
    """The file of a cluster whose head's number now belongs to another process; returns its temporary folder."""
    own_home.mkdir()
    temp_folder = Path(tempfile.mkdtemp(prefix="rayloop-test-"))
    known = {
        "id": "0" * 32,
        "head": os.getppid(),
        "gcs_address": "127.0.0.1:1",
        "temp_folder": str(temp_folder),
        "settings": {"edge_port": 18081, "dashboard_port": 18265, "address": "http://127.0.0.1:18265"},
        "serve_ports": {"fallback": 1, "stats": 2, "metrics": 3},
        "boot_s": psutil.boot_time() - 3600,
        "sessions": [os.getppid()],
        "workers": [{"pid": os.getppid(), "cpus": 1, "gpus": 0}],
        "services": {"mlflow": os.getppid()},
    }
    (own_home / CLUSTER_FILE).write_text(json.dumps(known))
    return temp_folder


def test_a_dead_cluster_is_cleared_and_strangers_are_left_alone(dead: Path) -> None:
    assert Settings.load().edge_port == 18081
    services.require_nothing_running(Settings.load())
    services.end_dead(Settings.load())
    assert not dead.exists()
    assert Settings.load().edge_port == 8080
    assert psutil.pid_exists(os.getppid())


def test_down_after_the_machine_started_anew_ends_no_stranger(dead: Path) -> None:
    assert services.is_up(Settings.load())
    services.down(Settings.load())
    assert psutil.pid_exists(os.getppid())
    assert not services.is_up(Settings.load())
    with pytest.raises(NotFound):
        services.down(Settings.load())


def test_without_a_cluster_there_is_nothing_to_clear(own_home: Path) -> None:
    services.end_dead(Settings.load())
    assert not own_home.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::", "192.168.0.7", "edge.example", "128.0.0.1"])
def test_an_edge_that_others_can_reach_needs_a_token(own_home: Path, host: str) -> None:
    settings = Settings.load({}, home=own_home, edge_host=host)
    with pytest.raises(InvalidInput) as error:
        services.up(settings)
    with pytest.raises(InvalidInput):
        services.attach(settings)
    ways_out = "run `rayloop token create NAME` first, or give --insecure"
    assert str(error.value) == f"the edge would answer anybody on {host}: {ways_out}"
    assert error.value.exit_code == 2
    assert not own_home.exists()
    services.require_guarded_edge(settings, insecure=True)
    workspace = Workspace(settings)
    assert workspace.tokens.tokens() == []
    with pytest.raises(InvalidInput):  # a database without tokens guards nothing either
        services.require_guarded_edge(settings, insecure=False)
    workspace.tokens.create("ci", "inference")
    services.require_guarded_edge(settings, insecure=False)
    workspace.tokens.revoke("ci")
    services.require_guarded_edge(settings, insecure=False)  # it lets nobody in
    workspace.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_an_edge_on_loopback_needs_no_token(own_home: Path, host: str) -> None:
    services.require_guarded_edge(Settings.load({}, home=own_home, edge_host=host), insecure=False)
    assert not own_home.exists()
