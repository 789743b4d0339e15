"""Who may go through the edge to the control API: deployers and admins, or anybody while the edge is open."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from pathlib import Path

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.traffic import Access, Split
from rayloop.serve.edge import Traffic

from .conftest import SECRET, Backend, free_port

INFER = "/v2/models/digits/infer"
LIST = "/v2/endpoints"
TOKENS = {role: f"rl_{role}".ljust(46, "x") for role in ("inference", "deploy", "admin")}
SPLITS = (Split.parse("digits", ["3=100"], revision=7),)
VERSIONS = {"digits": (3,)}
CLOSED = Access(False, {sha256(token.encode()).hexdigest(): f"{role}|my-{role}" for role, token in TOKENS.items()})

DEPLOYERS_PATHS = [
    ("GET", LIST),
    ("GET", "/v2/endpoints/digits"),
    ("PUT", "/v2/endpoints/digits/split"),
    ("POST", "/v2/endpoints/digits/rollback"),
    ("PUT", "/v2/endpoints/digits/versions/4"),
    ("DELETE", "/v2/endpoints/digits/versions/4"),
    ("PUT", "/v2/endpoints/digits/versions/4/replicas"),
    ("POST", "/v2/endpoints/digits/labels"),
    ("GET", "/v2/operations/1-2"),
    ("GET", "/drift/metrics"),
    ("POST", "/v2/repository/models/digits/load"),
    ("POST", "/v2/repository/models/digits/unload"),
]
ADMINS_PATHS = [("GET", "/v2/tokens"), ("POST", "/v2/tokens"), ("DELETE", "/v2/tokens/ci")]


class ControlBackend(Backend):
    """The control API's side: the same small server on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(port=1)
        self.path = path

    async def _listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=1 << 20)


def put_up(stage, **changes):
    """A control server, and an edge in front of it that is stepped once; the test ends the server."""
    control = ControlBackend(stage.folder / "control.sock")
    control.start()
    edge, settings = stage.edge(stage.settings(control_socket=control.path, **changes))
    edge.step(Traffic(SPLITS, VERSIONS, CLOSED))
    return control, edge, settings


@pytest.fixture(scope="module")
def shared(shared_stage):
    control, edge, settings = put_up(shared_stage)
    yield control, edge, settings
    control.end()


@pytest.fixture
def client(shared, shared_stage):
    """A client of the closed edge."""
    shared[1].step(Traffic(SPLITS, VERSIONS, CLOSED))
    return shared_stage.client(shared[2])


@pytest.fixture
def control(shared):
    shared[0].seen.clear()
    return shared[0]


def bearer(role):
    return {"authorization": f"Bearer {TOKENS[role]}"}


@pytest.mark.parametrize(("method", "path"), DEPLOYERS_PATHS + ADMINS_PATHS)
@pytest.mark.parametrize("role", TOKENS)
def test_each_role_may_what_it_may(client, control, method, path, role):
    answer = client.ask(path, method, bearer(role), b"{}")
    is_allowed = role == "admin" or (role == "deploy" and (method, path) in DEPLOYERS_PATHS)
    if not is_allowed:
        needed = "admin" if role == "deploy" else "deploy or admin"
        assert (answer.status, answer.json) == (403, {"error": f"this needs a token of role {needed}"})
        assert control.seen == []
        return
    assert (answer.status, answer.json["method"], answer.json["path"]) == (200, method, path)
    seen = answer.json["headers"]
    assert (seen["x-rayloop-role"], seen["x-rayloop-client"]) == (role, f"my-{role}")
    assert seen["x-rayloop-secret"] == "test-secret-0123456789"
    assert seen["x-request-id"] == answer.headers["x-request-id"]
    assert "authorization" not in seen
    assert "x-rayloop-secret" not in answer.headers


@pytest.mark.parametrize("role", TOKENS)
def test_every_role_may_infer(client, control, role):
    answer = client.ask(INFER, "POST", bearer(role), b"{}")
    assert (answer.status, answer.json["path"]) == (200, f"/__v/digits--v3{INFER}")
    assert "x-rayloop-role" not in answer.json["headers"]
    assert control.seen == []


@pytest.mark.parametrize(("method", "path"), DEPLOYERS_PATHS + ADMINS_PATHS)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer rl_wrong"}, {"x-rayloop-role": "admin"}])
def test_without_a_valid_token_nothing_is_reached(client, control, method, path, headers):
    assert client.ask(path, method, headers, b"{}").status == 401
    assert control.seen == []


def test_a_revoked_token_reaches_nothing(client, control, shared):
    assert client.ask(LIST, headers=bearer("deploy")).status == 200
    left = {digest: grant for digest, grant in CLOSED.grants.items() if not grant.startswith("deploy")}
    shared[1].step(Traffic(SPLITS, VERSIONS, Access(False, left)))
    assert client.ask(LIST, headers=bearer("deploy")).status == 401
    assert control.seen == [LIST]


def test_a_forged_role_and_name_are_not_believed(client):
    forged = {"x-rayloop-role": "admin", "x-rayloop-client": "boss", "X-Rayloop-Role": "admin"}
    assert client.ask(LIST, headers=bearer("inference") | forged).status == 403
    assert client.ask("/v2/tokens", headers=bearer("deploy") | forged).status == 403
    seen = client.ask(LIST, headers=bearer("deploy") | forged).json["headers"]
    assert (seen["x-rayloop-role"], seen["x-rayloop-client"]) == ("deploy", "my-deploy")


@pytest.mark.parametrize("path", [LIST, "/v2/tokens"])
def test_an_open_edge_lets_anybody_but_web_pages(client, control, shared, path):
    shared[1].step(Traffic(SPLITS, VERSIONS))
    seen = client.ask(path, headers={"x-rayloop-role": "admin", "x-rayloop-client": "boss"}).json["headers"]
    assert seen["x-rayloop-role"] == "open"
    assert "x-rayloop-client" not in seen
    control.seen.clear()
    answer = client.ask(path, "POST", {"origin": "http://evil.example"}, b"{}")
    assert (answer.status, "web page" in answer.json["error"], control.seen) == (403, True, [])


def test_the_secret_is_one_of_us(client):
    seen = client.ask("/v2/tokens", headers={"x-rayloop-secret": "test-secret-0123456789"}).json["headers"]
    assert seen["x-rayloop-role"] == "ours"


@pytest.mark.parametrize(
    "path", ["/v2/%74okens", "/v2//tokens", "/v2/x/../tokens", "/V2/tokens", "/v2/repository/models/digits/remove"]
)
def test_a_path_that_only_looks_alike_is_not_control(client, control, path):
    assert client.ask(path, headers=bearer("deploy")).status == 404
    assert control.seen == []


def test_the_bound_on_bodies_holds(client, control):
    answer = client.ask("/v2/endpoints/digits/split", "PUT", bearer("deploy"), b" " * (64 * 1024 + 1))
    assert (answer.status, "larger than" in answer.json["error"], control.seen) == (413, True, [])


def test_what_may_have_been_read_is_not_sent_again(client, control, shared_stage):
    answer = client.ask("/v2/endpoints/digits/rollback?drop=1", "POST", bearer("deploy"), b"{}")
    assert (answer.status, len(control.seen)) == (502, 1)
    assert "control service" in answer.json["error"]
    shared_stage.backend.seen.clear()
    assert client.ask(f"{INFER}?drop=1", "POST", bearer("inference"), b"{}").status == 200
    assert len(shared_stage.backend.seen) == 2


def test_while_control_is_down_everything_else_goes_on(client, control):
    control.stop()
    try:
        began_s = time.monotonic()
        answer = client.ask(LIST, headers=bearer("deploy"))
        assert (answer.status, "not up" in answer.json["error"]) == (503, True)
        assert answer.headers["content-type"] == "application/json"
        assert time.monotonic() - began_s < 4
        assert client.ask(INFER, "POST", bearer("inference"), b"{}").status == 200
        assert client.ask("/v2/health/ready").status == 200
    finally:
        control.start()
    assert client.ask(LIST, headers=bearer("deploy")).status == 200


def test_the_limit_of_requests_holds(stage):
    control, _, settings = put_up(stage, requests_per_s=3)
    try:
        client = stage.client(settings)
        assert {client.ask(LIST, headers=bearer("deploy")).status for _ in range(40)} == {200, 429}
    finally:
        control.end()


def test_an_edge_without_a_control_socket_has_no_such_paths(stage):
    edge, settings = stage.edge()
    edge.step(Traffic(SPLITS, VERSIONS))
    client = stage.client(settings)
    asked = [client.ask(path, method, body=b"{}").status for method, path in DEPLOYERS_PATHS + ADMINS_PATHS]
    assert asked == [404] * len(asked)


def test_the_socket_has_a_path_that_fits(stage):
    with pytest.raises(InvalidInput, match="control_socket"):
        stage.settings(control_socket=Path("/x" * 60))
    with pytest.raises(InvalidInput, match="control_socket"):
        stage.settings(control_socket=Path("relative.sock"))


def test_prometheus_reads_verdicts_at_the_port_of_metrics_without_a_token(stage):
    port = free_port()
    control, edge, _ = put_up(stage, metrics_port=port)
    try:
        client, forged = stage.client_of(port), {"x-rayloop-role": "admin", "x-rayloop-client": "me"}
        seen = client.ask("/drift/metrics", headers=forged)
        assert (seen.status, seen.json["path"]) == (200, "/drift/metrics")
        told = {name: value for name, value in seen.json["headers"].items() if name.startswith("x-rayloop-")}
        assert told == {"x-rayloop-secret": SECRET, "x-rayloop-role": "ours"}
        assert client.ask("/drift/metrics", "POST").status == 405
        for path in ("/v2/endpoints", "/drift/metrics/more", "/drift"):
            assert client.ask(path).status == 404
        assert control.seen == ["/drift/metrics"]
        assert "haproxy_" in client.ask("/metrics").body.decode()
        assert edge.step(Traffic(SPLITS, VERSIONS, CLOSED)).has_changed is False
    finally:
        control.end()


def test_without_a_control_api_the_port_of_metrics_has_no_verdicts(stage):
    port = free_port()
    edge, _ = stage.edge(stage.settings(metrics_port=port))
    edge.step(Traffic(SPLITS, VERSIONS, CLOSED))
    assert stage.client_of(port).ask("/drift/metrics").status == 404
