"""Our own client and Triton's against the control API over real sockets; and the server that an actor runs."""

from __future__ import annotations

import shutil
import socket
import stat
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from rayloop.jobs.control.api import Api
from rayloop.jobs.control.application import ControlApplication
from rayloop.jobs.control.server import ControlServer
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace
from rayloop.serve import versions
from rayloop.serve.control import Control, ControlError
from rayloop.serve.keeper import control_socket, edge_settings
from rayloop.serve.secret import edge_secret

from .test_serving import Registry, Serve, shares

SECRET = "only-the-edge-knows"
NAME = "toy"


class Edge(httpx.BaseTransport):
    """Adds what the edge adds for a token of role admin."""

    def __init__(self, secret: str = SECRET, **options: Any) -> None:
        self._headers = {"x-rayloop-secret": secret, "x-rayloop-role": "admin", "x-rayloop-client": "ops"}
        self._inner = httpx.HTTPTransport(**options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.update(self._headers)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    found = Serve()
    monkeypatch.setattr(versions, "apply_deployments", found.apply)
    monkeypatch.setattr(versions, "_wait_until_ready", found.wait)
    return found


@pytest.fixture
def address(workspace: Workspace, known: Any, serve: Serve) -> Iterator[str]:
    """The application on a port; versions 1 and 2 passed their gates, 3 never was validated."""
    workspace.__dict__["registry"] = Registry()
    for version in (1, 2):
        workspace.verdicts.add(NAME, version, True, {})
    application = ControlApplication(Api(workspace), SECRET)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listener.close()
    application.close()


@pytest.fixture
def control(address: str) -> Iterator[Control]:
    with Control(f"http://{address}", transport=Edge()) as made:
        yield made


def test_our_client_does_all_that_the_api_does(workspace: Workspace, control: Control, serve: Serve) -> None:
    assert control.deploy(NAME, 1).split == {1: 10_000}
    assert [found.version for found in control.deploy(NAME, 2).versions] == [1, 2]
    after = control.split(NAME, {1: 0.9, 2: 0.1}, reason="try", revision=1)
    assert (after.split, after.revision) == ({1: 9_000, 2: 1_000}, 2)
    assert control.endpoints() == [after]
    assert control.split(NAME, {2: 1}).split == {2: 10_000}
    assert control.rollback(NAME, reason="bad").split == {1: 10_000}
    control.undeploy(NAME, 2)
    assert set(serve.applications) == {"toy--v1"}
    control.load(NAME)
    control.unload(NAME, 2)
    control.load(NAME, 2)
    control.unload(NAME)
    assert set(serve.applications) == {"toy--v1"}
    control.deploy(NAME, 3, force="an emergency")
    assert control.create_token("ci", "deploy").startswith("rl_")
    control.revoke_token("ci")
    assert [(found["name"], found["revoked_s"] is None) for found in control.tokens()] == [("ci", False)]
    splits = [entry.detail["reason"] for entry in workspace.ledger.entries() if entry.action == "split"]
    assert splits == ["first version of the endpoint", "try", "over HTTP", "bad"]


def test_our_client_raises_the_api_s_own_sentence(control: Control, serve: Serve) -> None:
    control.deploy(NAME, 1)
    with pytest.raises(
        ControlError, match="the edge answered 409: the split of 'toy' is at revision 1, not 5"
    ) as found:
        control.split(NAME, {1: 1.0}, revision=5)
    assert found.value.status == 409
    serve.broken = frozenset({"toy--v2"})
    with pytest.raises(ControlError, match="the edge answered 500: toy v2 can't be served"):
        control.deploy(NAME, 2)
    with pytest.raises(ControlError, match="404: no endpoint 'nobody' is served here"):
        control.endpoint("nobody")
    for share in (1.5, -0.1, 0.00001):
        with pytest.raises(InvalidInput, match="steps of 1/10,000"):
            control.split(NAME, {1: share})
    with pytest.raises(InvalidInput, match="must begin with http"):
        Control("localhost:8080")


def test_no_answer_and_no_json_are_told() -> None:
    with Control("http://127.0.0.1:1") as control, pytest.raises(Unavailable, match="no answer came to GET"):
        control.endpoints()
    page = httpx.MockTransport(lambda _request: httpx.Response(200, text="<html>"))
    with Control("http://edge", transport=page) as control, pytest.raises(ControlError, match="502: its answer to"):
        control.endpoints()


def test_only_the_question_how_far_it_is_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayloop.serve.control.POLL_S", 0.001)
    begun = {"id": "1-2", "state": "running"}
    replies = [(202, begun), (429, {"error": "slowly"}), (503, {"error": "away"}), (404, {"error": "started anew"})]
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        status, value = replies[len(seen)]
        seen.append(f"{request.method} {request.url.path}")
        return httpx.Response(status, json=value)

    with Control("http://edge", transport=httpx.MockTransport(answer)) as control:
        with pytest.raises(ControlError, match="404: started anew"):
            control.deploy(NAME, 1)
        assert seen == ["PUT /v2/endpoints/toy/versions/1", *["GET /v2/operations/1-2"] * 3]
        seen[:] = seen[:1]
        with pytest.raises(ControlError, match="429"):
            control.rollback(NAME)
        assert len(seen) == 2


def test_triton_s_client_loads_and_unloads(workspace: Workspace, address: str, serve: Serve) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http], a test client")
    headers = {"x-rayloop-secret": SECRET, "x-rayloop-role": "deploy", "x-rayloop-client": "ci"}
    client = triton.InferenceServerClient(address)
    client.load_model(NAME, headers=headers)
    assert shares(workspace) == {2: 10_000}
    with pytest.raises(triton.InferenceServerException, match="every deployed version of 'toy' has traffic"):
        client.unload_model(NAME, headers=headers)
    with pytest.raises(triton.InferenceServerException, match="no project serves an endpoint 'nobody'"):
        client.load_model("nobody", headers=headers)
    with pytest.raises(triton.InferenceServerException, match="config"):
        client.load_model(NAME, headers=headers, config="{}")
    httpx.post(
        f"http://{address}/v2/repository/models/{NAME}/load", headers=headers, json={"parameters": {"version": 1}}
    )
    assert set(serve.applications) == {"toy--v1", "toy--v2"}
    client.unload_model(NAME, headers=headers)
    assert set(serve.applications) == {"toy--v2"}
    client.close()


@pytest.fixture
def settings(workspace: Workspace) -> Iterator[Settings]:
    yield workspace.settings
    shutil.rmtree(control_socket(workspace.settings).parent, ignore_errors=True)


def ask_server(workspace: Workspace, path: str = "/v2/tokens", **options: Any) -> httpx.Response:
    transport = Edge(edge_secret(workspace.store), uds=str(control_socket(workspace.settings)))
    with httpx.Client(transport=transport, base_url="http://edge") as client:
        return client.get(path, **options)


def test_the_server_answers_on_the_socket_that_the_edge_knows_and_again_after_a_restart(
    workspace: Workspace, settings: Settings
) -> None:
    for _ in range(2):  # the second finds the first one's socket in its place
        server = ControlServer(settings)
        path = server.wait()
        assert path == edge_settings(workspace).control_socket
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert ask_server(workspace).json() == {"tokens": []}
        server.close()
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(str(path))


def test_the_socket_alone_is_not_enough(workspace: Workspace, settings: Settings) -> None:
    server = ControlServer(settings)
    transport = httpx.HTTPTransport(uds=str(server.wait()))
    with httpx.Client(transport=transport, base_url="http://edge") as client:
        answer = client.get("/v2/tokens", headers={"x-rayloop-role": "admin", "x-rayloop-secret": SECRET})
    server.close()
    assert (answer.status_code, "only the edge" in answer.json()["error"]) == (403, True)
