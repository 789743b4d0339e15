"""Settings come from argument, environment, the cluster's file and defaults, in that order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rayloop.platform.errors import InvalidInput
from rayloop.platform.settings import CLUSTER_FILE, ENVIRONMENT, Settings

OTHER_VALUES = {
    "database_url": "sqlite:////elsewhere/a.db",
    "store": "/elsewhere/store",
    "tracking_uri": "http://127.0.0.1:5001",
    "address": "http://head:8265",
    "edge_host": "0.0.0.0",
    "edge_port": 8081,
    "edge_certificate": "/elsewhere/edge.pem",
    "edge_requests_per_s": 50,
    "edge_connections": 100,
    "edge_metrics_port": 9108,
    "edge_grpc_port": 8081,
    "mlflow_port": 5001,
    "dashboard_port": 8266,
    "serve_port": 8001,
}


def write_cluster_file(home: Path, **settings: Any) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / CLUSTER_FILE).write_text(json.dumps({"settings": settings, "head": 1}))


def test_defaults_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / ".rayloop"
    settings = Settings.load({})
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/rayloop.db"
    assert settings.store == f"{home}/store"
    assert settings.tracking_uri == f"sqlite:///{home}/mlflow.db"
    assert settings.edge_port == 8080
    assert not home.exists()


def test_every_setting_has_a_variable() -> None:
    assert set(OTHER_VALUES) == set(ENVIRONMENT) == set(Settings.model_fields) - {"home"}
    assert ENVIRONMENT["tracking_uri"] == "MLFLOW_TRACKING_URI"
    assert ENVIRONMENT["edge_port"] == "RAYLOOP_EDGE_PORT"


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_each_place_outranks_the_ones_after_it(tmp_path: Path, name: str) -> None:
    def load(environ: dict[str, str], **arguments: Any) -> Any:
        return getattr(Settings.load(environ, home=tmp_path, **arguments), name)

    value = OTHER_VALUES[name]
    in_file, in_environ = {
        int: (7001, 7002),
        str: ("http://file", "http://environ"),
    }[type(value)]
    default = load({})
    assert default not in {value, in_file, in_environ}
    write_cluster_file(tmp_path, **{name: in_file})
    assert load({}) == in_file
    variables = {ENVIRONMENT[name]: str(in_environ)}
    assert load(variables) == in_environ
    assert load(variables, **{name: value}) == value
    assert load(variables, **{name: None}) == in_environ
    assert load({ENVIRONMENT[name]: ""}) == in_file


def test_the_home_is_argument_then_environment(tmp_path: Path) -> None:
    environ = {"RAYLOOP_HOME": str(tmp_path / "a")}
    assert Settings.load(environ).home == tmp_path / "a"
    assert Settings.load(environ, home=tmp_path / "b").home == tmp_path / "b"
    assert Settings.load(environ, home=None).store == str(tmp_path / "a" / "store")


def test_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load({"RAYLOOP_STORE": "rows"}, home="state")
    assert (settings.store, settings.home) == (str(tmp_path / "rows"), tmp_path / "state")
    assert Settings.load({"RAYLOOP_STORE": "s3://bucket/rows"}).store == "s3://bucket/rows"


def test_the_dashboards_port_is_part_of_the_address(tmp_path: Path) -> None:
    assert Settings.load({}, home=tmp_path, dashboard_port=9265).address == "http://127.0.0.1:9265"
    assert Settings.load({}, home=tmp_path, dashboard_port=9265, address="http://head:1").address == "http://head:1"
    assert Settings.load({"RAYLOOP_DASHBOARD_PORT": "9265"}, home=tmp_path).address == "http://127.0.0.1:9265"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("0", "input should be greater than or equal to 1"),
        ("65536", "input should be less than or equal to 65535"),
        ("http", "input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_a_bad_port_names_the_variable_the_value_and_the_rule(tmp_path: Path, value: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Settings.load({"RAYLOOP_EDGE_PORT": value}, home=tmp_path)
    assert str(error.value) == f"RAYLOOP_EDGE_PORT={value}: {rule}"


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", "{}", '{"settings": 5}', '{"settings": []}'])
def test_a_damaged_cluster_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / CLUSTER_FILE).write_text(content)
    with pytest.raises(InvalidInput) as error:
        Settings.load({}, home=tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/{CLUSTER_FILE} is damaged: remove it")


def test_a_newer_cluster_file_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    write_cluster_file(tmp_path, edge_port=8099, something_new=1)
    assert Settings.load({}, home=tmp_path).edge_port == 8099


def test_the_environment_goes_round(tmp_path: Path) -> None:
    for settings in (Settings.load({}, home=tmp_path), Settings.load({}, home=tmp_path / "a b", **OTHER_VALUES)):
        assert Settings.load(settings.environment()) == settings
        assert all(isinstance(value, str) for value in settings.environment().values())


def test_settings_are_frozen_and_closed(tmp_path: Path) -> None:
    settings = Settings.load({}, home=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.edge_port = 1  # type: ignore[misc]
    with pytest.raises(InvalidInput, match="edge_prot=1: extra inputs are not permitted"):
        Settings.load({}, home=tmp_path, edge_prot=1)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://127.0.0.1:8080"),
        ("*", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
        ("edge.example", "http://edge.example:8080"),
    ],
)
def test_clients_here_find_the_edge(tmp_path: Path, host: str, url: str) -> None:
    assert Settings.load({}, home=tmp_path, edge_host=host).edge_url == url


def test_a_certificate_makes_it_https(tmp_path: Path) -> None:
    assert Settings.load({}, home=tmp_path, edge_certificate="/a/b.pem").edge_url == "https://127.0.0.1:8080"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAYLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("RAYLOOP_EDGE_PORT", "8123")
    assert (Settings.load().home, Settings.load().edge_port) == (tmp_path, 8123)
