import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.traffic import MAX_VARIANTS, Sticky
from rayloop.serve.edge import EdgeSettings, find_binary, render_config
from rayloop.serve.edge.counts import PAGE_LUA
from rayloop.serve.edge.listings import document_text


def settings(folder: Path = Path("/run/rayloop"), **changes) -> EdgeSettings:
    return EdgeSettings(admin_socket=folder / "admin.sock", map_folder=folder, secret="s" * 32, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fallback_address": "127.0.0.1:8500"},
        {"bind_host": "*", "bind_port": 80, "threads": 1},
        {"bind_host": "::1", "backend_address": "[::1]:8000", "session_header": "X-User"},
        {"requests_per_s": 10, "metrics_port": 9108},
        {"grpc_port": 8081, "requests_per_s": 10, "metrics_port": 9108, "slots": 3},
        {"grpc_port": 8081, "slots": 0, "control_socket": Path("/run/ray loop/control.sock")},
        {"sticky": (Sticky("cookie", "uid"), Sticky("header", "x-user-id"))},
        {"control_socket": Path("/run/ray loop/control.sock"), "requests_per_s": 10},
        {"max_body_bytes": 64 * 1024**2, "connect_timeout_s": 0.001},
    ],
)
def test_haproxy_accepts_the_text_without_a_warning(tmp_path, changes):
    given = settings(tmp_path, **changes)
    for path in given.maps:
        path.touch()
    given.page_script.write_text(PAGE_LUA)
    given.document_file.write_text(document_text())
    config = tmp_path / "haproxy.cfg"
    config.write_text(render_config(given))
    done = subprocess.run([find_binary(), "-c", "-f", config], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Configuration file is valid" in done.stdout


def test_every_variant_of_a_split_can_be_picked():
    assert render_config(settings()).count("set-var(txn.pick) var(txn.split)") == MAX_VARIANTS


def test_one_refused_connection_takes_a_server_out_only_if_there_is_another():
    def servers(**changed):
        section = render_config(settings(**changed)).partition("\nbackend serve\n")[2].partition("\nbackend")[0]
        return [line for line in section.splitlines() if line.strip().startswith("server ")]

    (alone,) = servers()
    assert "mark-down" not in alone
    main, fallback = servers(fallback_address="10.0.0.1:8500")
    assert "observe layer4 error-limit 1 on-error mark-down" in main
    assert fallback.endswith(" backup")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("bind_host", "a b", "host name"),
        ("bind_port", 0, "lie in 1..65,535"),
        ("backend_address", "127.0.0.1", "HOST:PORT"),
        ("backend_address", "h:70000", "HOST:PORT"),
        ("fallback_address", "h:1\n    stats enable", "HOST:PORT"),
        ("secret", "short", "16-256"),
        ("secret", "%[env(HOME)]aaaaaaaaaaaa", "16-256"),
        ("session_header", "x-rayloop-session", "not begin with x-rayloop-"),
        ("session_header", "x y", "name of a header"),
        ("admin_socket", Path("relative.sock"), "absolute path"),
        ("admin_socket", Path("/" + "a" * 100), "at most 90 bytes"),
        ("map_folder", Path("/run/it's"), "without quotes"),
        ("map_folder", Path("/run\nglobal"), "absolute path"),
        ("max_body_bytes", 10, "lie in"),
        ("requests_per_s", -1, "lie in"),
        ("metrics_port", 70_000, "lie in"),
        ("certificate", Path("/run/a'b.pem"), "without quotes"),
        ("threads", 0, "lie in"),
        ("answer_timeout_s", 0, "lie in"),
        ("answer_timeout_s", float("nan"), "lie in"),
    ],
)
def test_a_bad_setting_is_named_with_its_rule(name, value, rule):
    with pytest.raises(InvalidInput, match=name) as error:
        replace(settings(), **{name: value})
    assert rule in str(error.value)


def test_a_bad_secret_is_not_repeated():
    with pytest.raises(InvalidInput) as error:
        replace(settings(), secret="hunter2")
    assert "hunter2" not in str(error.value)


def test_the_secret_is_not_shown():
    assert settings().secret not in repr(settings())
