"""The control API in one process: its routes, who may ask them, what the ledger keeps, and Triton's and our clients."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from rayloop.jobs import serving
from rayloop.jobs.control.api import Api
from rayloop.jobs.control.application import MAX_BODY_BYTES, ControlApplication
from rayloop.jobs.control.operations import Operations
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.workspace import Workspace
from rayloop.serve import versions

from .test_serving import Registry, Serve, shares

SECRET = "only-the-edge-knows"
NAME = "toy"
ENDPOINT = f"/v2/endpoints/{NAME}"
REPOSITORY = f"/v2/repository/models/{NAME}"

Ask = Callable[..., httpx.Response]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    found = Serve()
    monkeypatch.setattr(versions, "apply_deployments", found.apply)
    monkeypatch.setattr(versions, "_wait_until_ready", found.wait)
    return found


@pytest.fixture(autouse=True)
def registry(workspace: Workspace, known: Any, serve: Serve) -> Registry:
    """The registry; versions 1 and 2 passed their gates, 3 never was validated."""
    found = Registry()
    workspace.__dict__["registry"] = found
    workspace.verdicts.add(NAME, 1, True, {})
    workspace.verdicts.add(NAME, 2, True, {})
    return found


@pytest.fixture
def application(workspace: Workspace) -> Iterator[ControlApplication]:
    made = ControlApplication(Api(workspace), SECRET)
    yield made
    made.close()


@pytest.fixture
def ask(application: ControlApplication) -> Ask:
    def ask(method: str, path: str, body: Any = None, role: str = "deploy", **more: Any) -> httpx.Response:
        headers = {"x-rayloop-secret": SECRET, "x-rayloop-role": role, "x-rayloop-client": "ci"} | more.pop(
            "headers", {}
        )

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
                return await client.request(method, path, json=body, headers=headers, **more)

        return asyncio.run(send())

    return ask


def ended(ask: Ask, begun: httpx.Response) -> dict[str, Any]:
    """The operation that a 202 names, when it has ended."""
    assert begun.status_code == 202, begun.text
    deadline_s = time.monotonic() + 10
    while (seen := ask("GET", begun.headers["location"]).json())["state"] == "running":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return seen


def done_since(workspace: Workspace) -> list[tuple[str, str]]:
    """What the ledger tells since the versions were validated: what was done, and who asked."""
    return [(entry.action, entry.actor) for entry in workspace.ledger.entries() if entry.action != "validate"]


@pytest.fixture
def two(ask: Ask) -> None:
    """Two versions are up; the first has all traffic."""
    for version in (1, 2):
        assert ended(ask, ask("PUT", f"{ENDPOINT}/versions/{version}"))["state"] == "done"


def test_a_version_is_deployed_and_the_ledger_names_who_asked(workspace: Workspace, ask: Ask, serve: Serve) -> None:
    begun = ask("PUT", f"{ENDPOINT}/versions/1")
    assert begun.json()["operation"] == "deploy toy v1"
    operation = ended(ask, begun)
    assert (operation["state"], operation["lines"][-1]) == ("done", "toy v1 is the champion and has all traffic")
    assert set(serve.applications) == {"toy--v1"}
    assert done_since(workspace) == [("deploy", "token:ci"), ("split", "token:ci")]
    ended(ask, ask("PUT", f"{ENDPOINT}/versions/2", role="open", headers={"x-rayloop-client": ""}))
    workspace.ledger.record("other", "x", {})
    (deployed, other) = done_since(workspace)[2:]
    assert deployed == ("deploy", "http")
    assert other[1] not in {"token:ci", "http"}


def test_an_endpoint_tells_its_split_and_what_serve_says(
    workspace: Workspace, ask: Ask, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask("GET", ENDPOINT).json()["versions"][0]["state"] == "UNKNOWN"  # no Serve answers
    replicas = {"Version": {"replicas": [{"state": "RUNNING"}, {"state": "STARTING"}]}}
    states = {"toy--v1": {"status": "RUNNING", "deployments": replicas}}
    monkeypatch.setattr("rayloop.jobs.control.api.application_states", lambda _settings: states)
    expected = {
        "name": NAME,
        "revision": 1,
        "split": {"1": 10_000},
        "versions": [
            {"version": 1, "weight": 10_000, "replicas": 1, "running": 1, "state": "RUNNING"},
            {"version": 2, "weight": 0, "replicas": 1, "running": 0, "state": "UNKNOWN"},
        ],
    }
    assert ask("GET", ENDPOINT).json() == expected
    assert ask("GET", "/v2/endpoints").json() == {"endpoints": [expected]}


def test_what_cannot_be_deployed_is_refused_at_once_or_told_by_the_operation(ask: Ask, serve: Serve) -> None:
    refused = ask("PUT", f"{ENDPOINT}/versions/3")
    assert (refused.status_code, "never validated" in refused.json()["error"]) == (409, True)
    assert ask("PUT", f"{ENDPOINT}/versions/9").status_code == 404
    assert ask("PUT", "/v2/endpoints/nobody/versions/1").status_code == 404
    serve.broken = frozenset({"toy--v1"})
    operation = ended(ask, ask("PUT", f"{ENDPOINT}/versions/1"))
    assert (operation["state"], operation["status"]) == ("failed", 500)
    assert operation["error"] == "toy v1 can't be served"
    assert ask("GET", ENDPOINT).status_code == 404


def test_admins_alone_may_pass_the_gates_by(workspace: Workspace, ask: Ask) -> None:
    body = {"force": "an emergency"}
    assert ask("PUT", f"{ENDPOINT}/versions/3", body).status_code == 403
    assert ended(ask, ask("PUT", f"{ENDPOINT}/versions/3", body, role="admin"))["state"] == "done"
    (forced,) = [entry for entry in workspace.ledger.entries() if entry.action == "force-deploy"]
    assert (forced.actor, forced.detail["reason"]) == ("token:ci", "an emergency")


def test_a_split_is_set_and_rolled_back(workspace: Workspace, ask: Ask, registry: Registry, two: None) -> None:
    answer = ask("PUT", f"{ENDPOINT}/split", {"weights": {"1": 9_001, "2": 999}, "reason": "try", "revision": 1})
    assert (answer.status_code, answer.json()["split"]) == (200, {"1": 9_001, "2": 999})
    entry = workspace.ledger.entries()[-1]
    assert (entry.actor, entry.detail["reason"], entry.detail["revision"]) == ("token:ci", "try", 2)
    assert ask("PUT", f"{ENDPOINT}/split", {"weights": {"2": 10_000}}).json()["revision"] == 3
    assert registry.aliases == {"champion": 2}
    assert ask("POST", f"{ENDPOINT}/rollback").json()["split"] == {"1": 10_000}
    assert registry.aliases == {"champion": 1}
    assert shares(workspace) == {1: 10_000}


@pytest.mark.parametrize("weights", [{"1": 5_000, "2": 5_000}, {"2": 10_000}])
def test_a_split_that_moved_meanwhile_is_left_alone(
    workspace: Workspace, ask: Ask, registry: Registry, two: None, weights: dict[str, int]
) -> None:
    before = len(workspace.ledger.entries())
    answer = ask("PUT", f"{ENDPOINT}/split", {"weights": weights, "revision": 7})
    assert answer.status_code == 409
    assert answer.json()["error"] == "the split of 'toy' is at revision 1, not 7: read it again"
    assert (shares(workspace), registry.aliases) == ({1: 10_000}, {"champion": 1})
    assert len(workspace.ledger.entries()) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"weights": {}}, 400),
        ({"weights": {"1": 5_000}}, 400),
        ({"weights": {"1": 5_000.5, "2": 4_999.5}}, 400),
        ({"weights": {"1": True, "2": 9_999}}, 400),
        ({"weights": {"one": 10_000}}, 400),
        ({"weights": {"0": 10_000}}, 400),
        ({"weights": {"1": -1, "2": 10_001}}, 400),
        ({"weights": {"1": 10_000}, "reason": ""}, 400),
        ({"weights": {"1": 10_000}, "more": 1}, 400),
        ({"weights": {"3": 10_000}}, 409),
        ([], 400),
    ],
)
def test_a_wrong_split_is_one_sentence_and_changes_nothing(
    workspace: Workspace, ask: Ask, two: None, body: Any, status: int
) -> None:
    answer = ask("PUT", f"{ENDPOINT}/split", body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert "\n" not in answer.json()["error"]
    assert workspace.endpoints.split(NAME).revision == 1


def test_a_version_is_taken_down_only_without_traffic(ask: Ask, serve: Serve, two: None) -> None:
    assert ask("DELETE", f"{ENDPOINT}/versions/1").status_code == 409
    assert ask("DELETE", f"{ENDPOINT}/versions/2").status_code == 200
    assert set(serve.applications) == {"toy--v1"}
    assert ask("DELETE", f"{ENDPOINT}/versions/2").status_code == 404


def test_replicas_are_set_by_the_function_that_the_command_line_calls(
    workspace: Workspace, ask: Ask, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(serving, "scale_version", raising=False)
    path = f"{ENDPOINT}/versions/1/replicas"
    missing = ask("PUT", path, {"replicas": 2})
    assert (missing.status_code, "cannot scale" in missing.json()["error"]) == (501, True)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(serving, "scale_version", lambda *given: asked.append(given), raising=False)
    assert ask("PUT", path, {"replicas": 2}).json()["name"] == NAME
    assert asked == [(workspace, NAME, 1, 2)]
    assert ask("PUT", path, {"replicas": -1}).status_code == 400
    assert ask("PUT", path).status_code == 400


def test_load_brings_up_the_newest_that_kept_its_gates(workspace: Workspace, ask: Ask, serve: Serve) -> None:
    assert ask("POST", f"{REPOSITORY}/load", {}).json() == {}
    assert (set(serve.applications), shares(workspace)) == ({"toy--v2"}, {2: 10_000})
    assert ask("POST", f"{REPOSITORY}/load", {"parameters": {"version": "1"}}).status_code == 200
    assert (set(serve.applications), shares(workspace)) == ({"toy--v1", "toy--v2"}, {2: 10_000})
    refused = ask("POST", f"{REPOSITORY}/load", {"parameters": {"version": 3}})
    assert (refused.status_code, "never validated" in refused.json()["error"]) == (409, True)
    assert ask("POST", f"{REPOSITORY}/load", {"parameters": {"config": "{}"}}).status_code == 400
    assert ask("POST", "/v2/repository/models/nobody/load").status_code == 404
    serve.broken = frozenset({"toy--v1"})
    assert ask("POST", f"{REPOSITORY}/load", {"parameters": {"version": 1}}).json() == {
        "error": "toy v1 can't be served"
    }


def test_load_without_a_version_that_kept_its_gates_is_refused(workspace: Workspace, ask: Ask) -> None:
    workspace.verdicts.add(NAME, 1, False, {})
    workspace.verdicts.add(NAME, 2, False, {})
    answer = ask("POST", f"{REPOSITORY}/load")
    assert (answer.status_code, "passed its gates" in answer.json()["error"]) == (409, True)


def test_unload_takes_down_what_has_no_traffic(workspace: Workspace, ask: Ask, serve: Serve, two: None) -> None:
    assert ask("POST", f"{REPOSITORY}/unload", {"parameters": {"version": 1}}).status_code == 409
    assert ask("POST", f"{REPOSITORY}/unload", {"parameters": {"unload_dependents": False}}).json() == {}
    assert (set(serve.applications), shares(workspace)) == ({"toy--v1"}, {1: 10_000})
    refused = ask("POST", f"{REPOSITORY}/unload")
    assert (refused.status_code, "has traffic" in refused.json()["error"]) == (409, True)
    assert ask("POST", "/v2/repository/models/nobody/unload").status_code == 404


def test_admins_make_list_and_revoke_tokens(workspace: Workspace, ask: Ask) -> None:
    made = ask("POST", "/v2/tokens", {"name": "robot", "role": "deploy"}, role="admin")
    assert (made.status_code, made.json()["role"]) == (201, "deploy")
    token = made.json()["token"]
    assert token.startswith("rl_")
    listed = ask("GET", "/v2/tokens", role="admin")
    assert [found["name"] for found in listed.json()["tokens"]] == ["robot"]
    assert token not in listed.text
    assert "sha256" not in listed.text
    assert ask("POST", "/v2/tokens", {"name": "robot"}, role="admin").status_code == 409
    assert ask("POST", "/v2/tokens", {"name": "x", "role": "root"}, role="admin").status_code == 400
    assert ask("DELETE", "/v2/tokens/robot", role="admin").json()["revoked_s"] > 0
    assert ask("DELETE", "/v2/tokens/nobody", role="admin").status_code == 404
    assert done_since(workspace) == [("token-create", "token:ci"), ("token-revoke", "token:ci")]


ALL = [
    ("GET", "/v2/endpoints"),
    ("GET", ENDPOINT),
    ("PUT", f"{ENDPOINT}/split"),
    ("POST", f"{ENDPOINT}/rollback"),
    ("PUT", f"{ENDPOINT}/versions/1"),
    ("DELETE", f"{ENDPOINT}/versions/1"),
    ("PUT", f"{ENDPOINT}/versions/1/replicas"),
    ("POST", f"{ENDPOINT}/labels"),
    ("GET", "/v2/operations/1-2"),
    ("GET", "/drift/metrics"),
    ("POST", f"{REPOSITORY}/load"),
    ("POST", f"{REPOSITORY}/unload"),
    ("GET", "/v2/tokens"),
    ("POST", "/v2/tokens"),
    ("DELETE", "/v2/tokens/ci"),
]


@pytest.mark.parametrize(("method", "path"), ALL)
def test_each_role_is_held_to_what_it_may_here_too(workspace: Workspace, ask: Ask, method: str, path: str) -> None:
    def status(role: str, **headers: str) -> int:
        return ask(method, path, role=role, headers=headers).status_code

    assert [status(role) for role in ("", "inference", "Admin", "root")] == [403] * 4
    assert [status("admin", **{"x-rayloop-secret": wrong}) for wrong in ("", SECRET[:-1], SECRET + "x")] == [403] * 3
    assert done_since(workspace) == []
    assert (status("deploy") == 403) == ("tokens" in path)
    assert 403 not in [status(role) for role in ("admin", "open", "ours")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/endpoints/", 404),
        ("GET", "/v2/endpoints/..%2ftokens", 404),
        ("PUT", f"{ENDPOINT}/versions/0", 404),
        ("PUT", f"{ENDPOINT}/versions/x", 404),
        ("GET", f"{ENDPOINT}/split", 405),
        ("POST", "/v2/endpoints", 405),
        ("DELETE", f"{REPOSITORY}/load", 405),
        ("GET", "/v2/operations/nothing", 404),
    ],
)
def test_other_paths_and_methods_are_one_sentence(ask: Ask, method: str, path: str, status: int) -> None:
    answer = ask(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    if path == f"{ENDPOINT}/split":
        assert answer.headers["allow"] == "PUT"


def test_bodies_that_are_no_json_or_too_long_are_refused(ask: Ask) -> None:
    assert ask("POST", f"{REPOSITORY}/load", content=b"{").status_code == 400
    assert ask("POST", f"{REPOSITORY}/load", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_fault_of_ours_is_500_and_tells_nothing(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(serving, "undeploy", fail)
    answer = ask("DELETE", f"{ENDPOINT}/versions/1")
    assert (answer.status_code, answer.json()) == (500, {"error": "the control service failed: ZeroDivisionError"})


def test_an_empty_secret_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidInput, match="secret is empty"):
        ControlApplication(Api(workspace), "")


def test_the_same_work_is_not_begun_twice_and_too_much_is_refused() -> None:
    operations, may_end = Operations(max_running=2), threading.Event()

    def work(say: Callable[[str], None]) -> None:
        say("begun")
        may_end.wait(10)

    first = operations.start("deploy a", work)
    assert operations.start("deploy a", work).id == first.id
    second = operations.start("deploy b", work)
    with pytest.raises(Unavailable, match="2 operations are under way"):
        operations.start("deploy c", work)
    may_end.set()
    assert [operations.wait(found).state for found in (first, second)] == ["done", "done"]
    assert operations.get(first.id).lines == ("begun",)
    assert operations.start("deploy a", work).id != first.id


def test_only_the_last_operations_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayloop.jobs.control.operations.MAX_KEPT", 3)
    operations = Operations()
    made = [operations.wait(operations.start(f"{number}", lambda _say: None)) for number in range(5)]
    assert [operations.get(found.id).what for found in made[2:]] == ["2", "3", "4"]
    for forgotten in made[:2]:
        with pytest.raises(LookupError, match="last 3 are kept"):
            operations.get(forgotten.id)
    with pytest.raises(LookupError, match="started anew"):
        operations.get("0000-1111")
