"""`rayloop token`: the token is printed once, and never again; and `up` keeps an open edge to this machine."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result
from rayloop.cli import main
from rayloop.jobs import services
from rayloop.platform.errors import Unavailable
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace


def rayloop(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="rayloop")


def test_a_token_is_printed_once(workspace: Workspace) -> None:
    made = rayloop("token", "create", "ci", "--role", "inference")
    assert made.exit_code == 0
    assert re.fullmatch(r"rl_[A-Za-z0-9_-]{43}\n", made.stdout)
    assert made.stderr == "from now on the edge answers only requests with a valid token\n"
    assert rayloop("token", "create", "ops", "--role", "admin").stderr == ""
    token = made.stdout.strip()
    assert sha256(token.encode()).hexdigest() in workspace.tokens.access().grants
    for verb in (("token", "list"), ("ledger", "show")):
        shown = rayloop(*verb)
        assert (shown.exit_code, "ci" in shown.stdout) == (0, True)
        assert token not in shown.output
        assert sha256(token.encode()).hexdigest() not in shown.output
    revoked = rayloop("token", "revoke", "ci")
    assert (revoked.exit_code, revoked.stdout) == (0, "token 'ci' (inference) is revoked\n")
    actions = [entry.action for entry in workspace.ledger.entries()]
    assert actions == ["token-create", "token-create", "token-revoke"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "a b"), 2, "token name 'a b' must be"),
        (("create", "ci", "--role", "root"), 2, "role 'root' must be one of inference, deploy, admin"),
        (("revoke", "ci"), 3, "there is no token 'ci'"),
    ],
)
def test_a_refusal_is_one_sentence(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = rayloop("token", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"error: {words}")


@pytest.mark.parametrize("more", [(), ("--attach",)])
def test_up_refuses_an_open_edge_for_others(own_home: Path, more: tuple[str, ...]) -> None:
    result = rayloop("up", "--edge-host", "0.0.0.0", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "rayloop token create" in line
    assert "--insecure" in line
    assert not own_home.exists()


@pytest.mark.parametrize("is_first_way", [True, False])
def test_both_ways_out_lead_on(own_home: Path, monkeypatch: pytest.MonkeyPatch, is_first_way: bool) -> None:
    seen: list[Settings] = []

    def start(settings: Settings, **_options: Any) -> NoReturn:
        seen.append(settings)
        raise Unavailable("far enough")

    monkeypatch.setattr(services.LocalCluster, "start", start)
    if is_first_way:
        rayloop("token", "create", "ci")
    result = rayloop("up", "--edge-host", "0.0.0.0", *(() if is_first_way else ("--insecure",)))
    assert (result.exit_code, result.stderr) == (5, "error: far enough\n")
    assert seen[0].edge_host == "0.0.0.0"
