"""The environment of a cluster: what is required wins, what the caller set wins over what is advised."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rayloop.cluster.environment import (
    ADVISED,
    MAX_BODY_BYTES,
    REPLAY_BODY_BYTES,
    REQUIRED,
    check_environment,
    cluster_environment,
)
from rayloop.platform.errors import Unavailable
from rayloop.platform.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({}, home=tmp_path / "home", edge_port=18080)


def test_required_wins_over_the_caller_and_the_caller_over_advice(settings: Settings) -> None:
    required, advised = next(iter(REQUIRED)), next(iter(ADVISED))
    found = cluster_environment(settings, {required: "0", advised: "mine", "KEPT": "yes"})
    assert found[required] == REQUIRED[required]
    assert found[advised] == "mine"
    assert found["KEPT"] == "yes"
    untouched = cluster_environment(settings, {})
    assert {name: untouched[name] for name in ADVISED} == dict(ADVISED)


def test_the_settings_travel_with_it(settings: Settings) -> None:
    found = cluster_environment(settings, {"RAYLOOP_EDGE_PORT": "1"})
    assert Settings.load(found) == settings


def test_this_python_comes_first_on_the_path(settings: Settings) -> None:
    found = cluster_environment(settings, {"PATH": "/usr/bin"})
    assert found["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"


def test_the_environment_that_is_made_passes_the_check(settings: Settings) -> None:
    check_environment(cluster_environment(settings, {}))


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "other"])
def test_the_check_names_the_variable_and_both_values(name: str, value: str | None) -> None:
    environ = {key: kept for key, kept in {**REQUIRED, name: value}.items() if kept is not None}
    with pytest.raises(Unavailable) as raised:
        check_environment(environ)
    assert f"{name}={value!r}" in str(raised.value)
    assert repr(REQUIRED[name]) in str(raised.value)


def test_a_body_that_can_be_sent_again_fits_the_proxys_buffer_beside_its_head() -> None:
    assert int(REQUIRED["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) > REPLAY_BODY_BYTES
    assert REPLAY_BODY_BYTES <= MAX_BODY_BYTES
