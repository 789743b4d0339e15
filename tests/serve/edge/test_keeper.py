"""The keeper makes the edge what SQL says: splits, tokens, aliases and what keeps a client."""

from __future__ import annotations

import shutil
import time

import pytest
from rayloop.cluster import free_port
from rayloop.platform.project import Project
from rayloop.platform.settings import Settings
from rayloop.platform.state import Deployment
from rayloop.platform.workspace import Workspace
from rayloop.serve.keeper import PERIOD_S, EdgeKeeper, edge_folder

INFER = "/v2/models/digits/infer"


@pytest.fixture
def workspace(stage, own_home):
    made = Workspace(Settings.load({}, home=own_home, edge_port=free_port(), serve_port=stage.backend.port))
    made.endpoints.add_deployment(Deployment("digits", 3, "artifact", {}))
    made.endpoints.set_split("digits", {3: 10_000}, "test")
    yield made
    made.close()


@pytest.fixture
def keeper(workspace, monkeypatch):
    monkeypatch.setattr(EdgeKeeper, "_run", lambda _self: None)  # the tests step it
    made = EdgeKeeper(workspace.settings)
    made.step()
    yield made
    made._edge.stop(timeout_s=0.5)
    made._workspace.close()
    shutil.rmtree(edge_folder(workspace.settings))


def test_a_token_is_let_in_and_a_revoked_one_refused_within_a_second(stage, workspace, keeper):
    client = stage.client_of(workspace.settings.edge_port)
    assert client.ask(INFER).status == 200
    headers = {"authorization": f"Bearer {workspace.tokens.create('ci', 'inference')}"}
    keeper.step()
    assert (client.ask(INFER).status, client.ask(INFER, headers=headers).status) == (401, 200)
    workspace.tokens.revoke("ci")
    began_s = time.monotonic()
    keeper.step()
    assert time.monotonic() - began_s + PERIOD_S < 1
    assert (client.ask(INFER).status, client.ask(INFER, headers=headers).status) == (401, 401)


def test_names_of_a_project_reach_the_edge(stage, workspace, keeper):
    serve = {"aliases": ["numbers"], "sticky": {"cookie": "uid"}}
    data = {"source": "data.parquet", "target": "label"}
    workspace.projects.save(Project.model_validate({"name": "digits", "data": data, "serve": serve}), "code")
    assert keeper.step().process == "reloaded"
    assert keeper.step().process == "running"
    client = stage.client_of(workspace.settings.edge_port)
    asked = [client.ask("/v2/models/numbers/infer", headers={"cookie": "uid=u1"}) for _ in range(5)]
    assert {answer.json["path"] for answer in asked} == {f"/__v/digits--v3{INFER}"}
    assert len({answer.json["headers"]["x-rayloop-bucket"] for answer in asked}) == 1
    assert client.ask("/v2/models").json == {"models": ["digits", "numbers"]}
