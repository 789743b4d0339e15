"""Deploying by HTTP on a live cluster with tokens of each role, and what an outsider on the machine is refused.

The first token closes an edge for good, so these tests have a cluster of their own.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from rayloop.cluster import LocalCluster
from rayloop.platform.traffic import app_prefix
from rayloop.serve.control import Control, ControlError
from rayloop.serve.keeper import control_socket

from .conftest import TOY_PROJECT, Live, running, wait_until, write_rows

pytestmark = [pytest.mark.cluster, pytest.mark.live]

NAME = "guarded"
INFER = f"/v2/models/{NAME}/infer"
INNER = f"{app_prefix(NAME, 1)}{INFER}"
BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}]}
FORGED = {
    "x-rayloop-secret": "x" * 43,
    "x-rayloop-client": "boss",
    "x-rayloop-role": "admin",
    "x-rayloop-endpoint": NAME,
    "x-rayloop-version": "1",
    "x-rayloop-variant": "pinned",
}


@dataclass(frozen=True)
class Guarded:
    """A cluster whose edge is closed; v1 was loaded by HTTP while it was open, v2 is registered."""

    live: Live
    project: Path
    tokens: Mapping[str, str]

    def control(self, role: str) -> Control:
        return Control(self.live.settings.edge_url, token=self.tokens[role])

    def infer(self, url: str | None = None, path: str = INFER, token: str | None = None, **headers: str) -> int:
        """The status of a prediction that is asked for at the edge, or elsewhere."""
        given = headers | ({"authorization": f"Bearer {token}"} if token else {})
        return httpx.post((url or self.live.settings.edge_url) + path, json=BODY, headers=given, timeout=10).status_code


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("projects") / NAME
    (folder / "data").mkdir(parents=True)
    text = TOY_PROJECT.format(name=NAME, use="tabular", params="{}", workers=1, epochs=3, gpu="false")
    (folder / "rayloop.yaml").write_text(text)
    write_rows(folder, "first", seed=1, rows=600)
    with running() as live:
        for _ in range(2):
            live.run("train", cwd=folder)
        with Control(live.settings.edge_url) as control:
            assert control.endpoints() == []
            control.load(NAME, 1)
            assert control.endpoint(NAME).split == {1: 10_000}
            made = {"admin": control.create_token("boss", "admin")}
        wait_until(lambda: httpx.get(f"{live.settings.edge_url}/v2").status_code == 401, 5, "the edge closes")
        with Control(live.settings.edge_url, token=made["admin"]) as control:
            made |= {role: control.create_token(f"my-{role}", role) for role in ("deploy", "inference")}
            made["revoked"] = control.create_token("gone", "admin")
            control.revoke_token("gone")
        found = Guarded(live, folder, made)
        wait_until(lambda: found.infer(token=made["inference"]) == 200, 5, "the edge learns the tokens")
        wait_until(lambda: found.infer(token=made["revoked"]) == 401, 5, "the edge forgets the revoked one")
        yield found


def test_a_deployer_deploys_splits_rolls_back_and_unloads(guarded: Guarded) -> None:
    with guarded.control("deploy") as control:
        before = control.deploy(NAME, 2)
        assert [(found.version, found.state, found.running) for found in before.versions] == [
            (1, "RUNNING", 1),
            (2, "RUNNING", 1),
        ]
        after = control.split(NAME, {1: 0.9, 2: 0.1}, reason="try", revision=before.revision)
        assert (after.split, after.revision) == ({1: 9_000, 2: 1_000}, before.revision + 1)
        answer = httpx.post(
            guarded.live.settings.edge_url + INFER,
            json=BODY,
            headers={"authorization": f"Bearer {guarded.tokens['inference']}"},
        )
        assert answer.headers["x-rayloop-revision"] == str(after.revision)
        with pytest.raises(ControlError, match="409: the split of 'guarded' is at revision"):
            control.split(NAME, {2: 1.0}, revision=before.revision)
        with pytest.raises(ControlError, match="409: every deployed version of 'guarded' has traffic"):
            control.unload(NAME)
        assert control.split(NAME, {2: 1.0}).split == {2: 10_000}
        assert control.rollback(NAME).split == {1: 10_000}
        control.unload(NAME)
        assert [found.version for found in control.endpoint(NAME).versions] == [1]
    entries = guarded.live.workspace.ledger.entries()
    assert {"deploy", "split", "alias", "undeploy"} <= {
        entry.action for entry in entries if entry.actor == "token:my-deploy"
    }
    assert "unchanged" in guarded.live.run("ledger", "verify", cwd=guarded.project)


def test_each_role_is_held_to_what_it_may(guarded: Guarded) -> None:
    with guarded.control("inference") as control, pytest.raises(ControlError, match=r"403: .* role deploy or admin"):
        control.endpoints()
    with guarded.control("deploy") as control, pytest.raises(ControlError, match=r"403: .* role admin"):
        control.create_token("more", "admin")
    with guarded.control("revoked") as control, pytest.raises(ControlError, match="401"):
        control.endpoints()
    with Control(guarded.live.settings.edge_url) as control, pytest.raises(ControlError, match="401"):
        control.rollback(NAME)
    with guarded.control("admin") as control:
        assert [found["name"] for found in control.tokens()] == ["boss", "my-deploy", "my-inference", "gone"]
    assert [guarded.infer(token=guarded.tokens[role]) for role in ("inference", "deploy", "admin")] == [200] * 3


def test_a_killed_control_service_comes_back_and_takes_nothing_down(guarded: Guarded) -> None:
    cluster = LocalCluster.find(guarded.live.settings)
    assert cluster is not None
    (process,) = [found for found in cluster.owner.processes() if "ControlServer" in " ".join(found.cmdline())]
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=10)
    with guarded.control("deploy") as control:
        seen, deadline_s = [], time.monotonic() + 90
        while not seen or seen[-1] != 200:
            assert time.monotonic() < deadline_s, seen
            assert guarded.infer(token=guarded.tokens["inference"]) == 200
            try:
                seen.append(200 if control.endpoints() else 0)
            except ControlError as error:
                seen.append(error.status)
    assert set(seen) <= {200, 502, 503}


@pytest.mark.parametrize(
    ("path", "role", "headers", "status"),
    [
        (INNER, None, {}, 403),
        (INNER, "admin", {}, 403),
        (INNER, "admin", FORGED, 403),
        (INFER, None, {}, 401),
        (INFER, None, FORGED, 401),
        (INFER, "revoked", FORGED, 401),
        (INFER, None, {"authorization": "Bearer rl_" + "a" * 43}, 401),
    ],
)
def test_the_edge_refuses_an_outsider(
    guarded: Guarded, path: str, role: str | None, headers: dict[str, str], status: int
) -> None:
    token = guarded.tokens[role] if role else None
    assert guarded.infer(path=path, token=token, **headers) == status


@pytest.mark.parametrize("headers", [{}, FORGED, {"authorization": "token"}])
def test_serve_s_proxy_refuses_an_outsider(guarded: Guarded, headers: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{guarded.live.settings.serve_port}"
    token = guarded.tokens["admin"] if headers.pop("authorization", None) else None
    assert guarded.infer(url, INNER, token, **headers) == 403
    assert guarded.infer(url, INFER, token, **headers) in {403, 404}


def test_a_replica_s_own_ports_refuse_an_outsider(guarded: Guarded) -> None:
    cluster = LocalCluster.find(guarded.live.settings)
    assert cluster is not None
    replicas = [found for found in cluster.owner.processes() if "ServeReplica" in " ".join(found.cmdline())]
    ports = {
        found.laddr.port
        for replica in replicas
        for found in replica.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN
    }
    seen: dict[int, set[int]] = {}
    for port in ports:
        for path in (INFER, INNER):
            for token, headers in ((None, {}), (None, FORGED), (guarded.tokens["admin"], FORGED)):
                try:
                    status = guarded.infer(f"http://127.0.0.1:{port}", path, token, **headers)
                except httpx.HTTPError:
                    continue  # Ray's own protocol
                seen.setdefault(port, set()).add(status)
    assert seen, f"no port of {len(replicas)} replicas answers HTTP"
    assert {port: statuses for port, statuses in seen.items() if not statuses <= {403, 404}} == {}
    assert any(403 in statuses for statuses in seen.values())


def test_the_control_socket_is_closed_to_others_and_asks_for_the_secret(guarded: Guarded) -> None:
    path = control_socket(guarded.live.settings)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://edge") as client:
        answers = [client.get("/v2/tokens", headers=headers) for headers in ({}, FORGED)]
    assert [answer.status_code for answer in answers] == [403, 403]
