"""Who is let in: anybody while the edge is open, else only those with a valid token."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest
from rayloop.platform.settings import Settings
from rayloop.platform.traffic import Access, Split
from rayloop.platform.workspace import Workspace
from rayloop.serve.edge import Traffic

INFER = "/v2/models/digits/infer"
TOKEN = "rl_" + "a" * 43
SPLITS = (Split.parse("digits", ["3=100"], revision=7),)
VERSIONS = {"digits": (3,)}


def grants(**tokens: str) -> Access:
    return Access(False, {sha256(made.encode()).hexdigest(): f"inference|{name}" for name, made in tokens.items()})


@pytest.fixture(scope="module")
def served(shared_stage):
    edge, settings = shared_stage.edge()
    edge.step(Traffic(SPLITS, VERSIONS))
    return edge, settings


@pytest.fixture
def closed(served):
    served[0].step(Traffic(SPLITS, VERSIONS, grants(ci=TOKEN)))
    return served[0]


@pytest.fixture
def client(closed, served, shared_stage):
    return shared_stage.client(served[1])


def bearer(token, scheme="Bearer"):
    return {"Authorization": f"{scheme} {token}"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_valid_token_may_infer_and_the_replica_learns_its_name_alone(client, scheme):
    answer = client.ask(INFER, "POST", bearer(TOKEN, scheme) | {"x-rayloop-client": "boss"}, b"{}")
    assert answer.status == 200
    headers = answer.json["headers"]
    assert headers["x-rayloop-client"] == "ci"
    assert "authorization" not in headers
    assert TOKEN not in answer.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        bearer("rl_" + "b" * 43),
        bearer(TOKEN + "a"),
        bearer(TOKEN.upper()),
        bearer(" " + TOKEN),
        bearer(sha256(TOKEN.encode()).hexdigest()),
        bearer("open"),
        bearer(""),
        bearer(TOKEN, "Basic"),
        {"Authorization": TOKEN},
        {"Authorization": ""},
    ],
)
def test_a_wrong_token_is_401(client, headers):
    answer = client.ask(INFER, "POST", headers, b"{}")
    assert answer.status == 401
    assert answer.json == {"error": "the token is not known, or was revoked"}
    assert answer.headers["www-authenticate"] == 'Bearer realm="rayloop", error="invalid_token"'
    assert answer.headers["content-type"] == "application/json"
    assert "x-rayloop-revision" not in answer.headers


@pytest.mark.parametrize("path", [INFER, "/v2/models/cats", "/v2", "/v2/models/digits/versions/3", "/nothing"])
def test_no_token_is_401_whatever_is_asked(client, path):
    answer = client.ask(path)
    assert (answer.status, answer.json) == (401, {"error": "a token is needed"})
    assert answer.headers["www-authenticate"] == 'Bearer realm="rayloop"'


@pytest.mark.parametrize("headers", [{}, bearer(TOKEN)])
def test_hidden_paths_stay_refused(client, headers):
    assert client.ask("/__v/digits--v3/v2/models/digits", headers=headers).status == 403


def test_health_stays_open(client):
    assert client.ask("/v2/health/live").status == 200
    assert client.ask("/v2/health/ready").status == 200


def test_a_forged_header_lets_nobody_in(client):
    forged = {"x-rayloop-client": "ci", "x-rayloop-secret": "test-secret-012345678", "x-rayloop-revision": "7"}
    assert client.ask(INFER, headers=forged).status == 401


def test_the_secret_lets_our_own_processes_in_without_a_name(client):
    answer = client.ask(INFER, headers={"x-rayloop-secret": "test-secret-0123456789"})
    assert answer.status == 200
    assert "x-rayloop-client" not in answer.json["headers"]


def test_a_revoked_token_is_refused_at_once_and_revoking_the_last_opens_nothing(closed, client):
    assert client.ask(INFER, headers=bearer(TOKEN)).status == 200
    changes = closed.step(Traffic(SPLITS, VERSIONS, grants())).changes
    assert [change.verb for change in changes] == ["del"]
    assert client.ask(INFER, headers=bearer(TOKEN)).status == 401
    assert client.ask(INFER).status == 401


def test_an_open_edge_asks_for_no_token_and_still_hides_the_header(closed, client):
    closed.step(Traffic(SPLITS, VERSIONS))
    for headers in ({}, bearer("wrong")):
        answer = client.ask(INFER, headers=headers)
        assert answer.status == 200
        assert "authorization" not in answer.json["headers"]
        assert "x-rayloop-client" not in answer.json["headers"]


def test_an_edge_whose_map_was_lost_lets_nobody_in(stage):
    edge, settings = stage.edge()
    edge.ensure_running()
    assert settings.tokens_map.read_text() == ""
    assert stage.client(settings).ask("/v2").status == 401


def test_the_map_holds_no_token(closed, served):
    text = served[1].tokens_map.read_text()
    assert text == f"{sha256(TOKEN.encode()).hexdigest()} inference|ci\n"


def test_tokens_of_the_database_reach_the_edge_within_a_second(stage, own_home):
    workspace = Workspace(Settings.load({}, home=own_home))
    edge, settings = stage.edge()

    def step():
        edge.step(Traffic(SPLITS, VERSIONS, workspace.tokens.access()))

    step()
    client = stage.client(settings)
    assert client.ask(INFER).status == 200
    made = workspace.tokens.create("ci", "inference")
    step()
    assert (client.ask(INFER).status, client.ask(INFER, headers=bearer(made)).status) == (401, 200)
    workspace.tokens.revoke("ci")
    began_s = time.monotonic()
    step()
    assert time.monotonic() - began_s < 0.8  # the keeper steps every 0.2 s
    assert client.ask(INFER, headers=bearer(made)).status == 401
    workspace.close()
