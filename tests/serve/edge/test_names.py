"""By what names endpoints are asked for, what keeps a client on a version, and what is listed."""

from __future__ import annotations

import json

import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.project import Project
from rayloop.platform.settings import Settings
from rayloop.platform.traffic import Split, Sticky
from rayloop.platform.workspace import Workspace
from rayloop.serve.edge import Traffic
from rayloop.serve.edge.catalogue import MAX_LIST_BYTES, catalogue
from rayloop.serve.edge.maps import desired_aliases
from rayloop.serve.keeper import desired_traffic

SPLITS = tuple(Split.parse(name, ["3=50", "4=50"], revision=7) for name in ("digits", "cats", "birds"))
DESIRED = Traffic(
    splits=SPLITS,
    versions={"digits": (3, 4), "cats": (3, 4, 5), "birds": (3, 4)},
    sticky={"digits": Sticky("header", "X-User-Id"), "cats": Sticky("cookie", "uid")},
    aliases={"numbers": "digits", "cats": "digits"},
)
RAMP = (0, 5, 20, 50, 100)


@pytest.fixture(scope="module")
def client(shared_stage):
    edge, settings = shared_stage.edge()
    edge.step(DESIRED)
    return shared_stage.client(settings)


def bucket(client, path="/v2/models/digits/infer", **headers):
    return int(client.ask(path, headers=headers).json["headers"]["x-rayloop-bucket"])


def differ(client, path, headers):
    return len({bucket(client, path, **headers) for _ in range(10)}) > 1


@pytest.mark.parametrize(
    ("endpoint", "read", "unread"),
    [
        ("digits", [{"x-user-id": "u1"}], [{"x-session-id": "u1"}, {"cookie": "uid=u1"}]),
        ("cats", [{"cookie": "a=b; uid=u1"}, {"cookie": "uid=u1"}], [{"x-user-id": "u1"}, {"cookie": "gid=u1"}]),
        ("birds", [{"x-session-id": "u1"}], [{"x-user-id": "u1"}, {"cookie": "uid=u1"}]),
    ],
)
def test_each_endpoint_has_its_own_header_or_cookie(client, endpoint, read, unread):
    path = f"/v2/models/{endpoint}/infer"
    assert len({bucket(client, path, **headers) for headers in read * 3}) == 1
    assert all(differ(client, path, headers) for headers in unread)


def test_the_same_value_is_the_same_client_wherever_it_stands(client):
    assert bucket(client, "/v2/models/digits/infer", **{"x-user-id": "u1"}) == bucket(
        client, "/v2/models/numbers/infer", **{"x-user-id": "u1"}
    )


def test_over_a_ramp_nobody_of_10_000_flips_back(stage):
    edge, settings = stage.edge()
    held: set[int] = set()
    for revision, percent in enumerate(RAMP):
        split = Split.parse("digits", [f"3={100 - percent}", f"4={percent}"], revision)
        edge.step(Traffic(splits=(split,), sticky={"digits": Sticky("header", "x-user-id")}))
        client = stage.client(settings)
        answers = (
            client.ask("/v2/models/digits/infer", headers={"x-user-id": f"user-{number}"}) for number in range(10_000)
        )
        now = {number for number, answer in enumerate(answers) if answer.headers["x-rayloop-version"] == "4"}
        assert held <= now
        assert abs(len(now) - 100 * percent) <= 300
        held = now
    assert len(held) == 10_000


def test_a_new_name_is_read_after_a_reload_that_loses_nobody(stage):
    edge, settings = stage.edge()
    first = edge.step(Traffic(splits=SPLITS))
    client = stage.client(settings)
    assert differ(client, "/v2/models/digits/infer", {"x-user-id": "u1"})
    second = edge.step(DESIRED)
    assert (second.process, second.pid != first.pid) == ("reloaded", True)
    assert len({bucket(stage.client(settings), **{"x-user-id": "u1"}) for _ in range(5)}) == 1
    assert edge.step(DESIRED).process == "running"
    other, _ = stage.edge(settings)
    assert other.step(DESIRED).process == "adopted"
    assert edge.step(Traffic(splits=SPLITS, sticky={"cats": Sticky("header", "x-user-id")})).process == "reloaded"


@pytest.mark.parametrize(
    ("path", "behind"),
    [
        ("/v2/models/numbers", "/v2/models/digits"),
        ("/v2/models/numbers/infer?a=/numbers/b", "/v2/models/digits/infer?a=/numbers/b"),
        ("/v1/models/numbers:predict", "/v1/models/digits:predict"),
        ("/v2/models/numbers/versions/3/infer", "/v2/models/digits/versions/3/infer"),
        ("/mlflow/numbers/invocations", "/mlflow/digits/invocations"),
        ("/mlflow/digits/invocations", "/mlflow/digits/invocations"),
        ("/mlflow/digits/versions/3/invocations", "/mlflow/digits/versions/3/invocations"),
    ],
)
def test_an_alias_and_the_mlflow_paths_lead_to_the_endpoint(client, path, behind):
    answer = client.ask(path, "POST", body=b"{}")
    version = answer.headers["x-rayloop-version"]
    assert answer.json["path"] == f"/__v/digits--v{version}{behind}"
    assert answer.json["headers"]["x-rayloop-endpoint"] == "digits"
    if "/versions/" in path:
        assert (version, answer.json["headers"]["x-rayloop-variant"]) == ("3", "pinned")


def test_an_endpoint_s_own_name_is_nobody_s_alias(client):
    assert client.ask("/v2/models/cats/infer").json["headers"]["x-rayloop-endpoint"] == "cats"
    assert desired_aliases({"cats": "digits", "a": "digits"}, {"cats", "digits"}) == {"a": "digits"}
    with pytest.raises(InvalidInput, match="endpoint"):
        desired_aliases({"a b": "digits"}, set())


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/mlflow/dogs/invocations", 'model "dogs" is not served here'),
        ("/mlflow/digits/versions/9/invocations", 'version "9" of model "digits" is not served here'),
        ("/mlflow/", 'model "" is not served here'),
        ("/mlflow", "nothing is served at this path"),
        ("/mlflow/digits/../../__v/digits--v3", "nothing is served at this path"),
    ],
)
def test_what_mlflow_paths_do_not_serve_is_404(client, path, error):
    answer = client.ask(path)
    assert (answer.status, answer.json) == (404, {"error": error})


def test_the_served_names_are_listed(client):
    answer = client.ask("/v2/models")
    assert (answer.status, answer.json) == (200, {"models": ["birds", "cats", "digits", "numbers"]})
    assert answer.headers["content-type"] == "application/json"
    index = client.ask("/v2/repository/index", "POST", body=b"{}")
    assert index.status == 200
    assert {"name": "cats", "version": "5", "state": "UNKNOWN", "reason": ""} in index.json
    assert {"name": "cats", "version": "4", "state": "READY", "reason": ""} in index.json
    assert len(index.json) == 7


@pytest.mark.parametrize(
    ("path", "method", "allow"), [("/v2/models", "POST", "GET"), ("/v2/repository/index", "GET", "POST")]
)
def test_a_list_is_asked_for_by_its_method(client, path, method, allow):
    answer = client.ask(path, method)
    assert (answer.status, answer.json) == (405, {"error": "this method is not allowed here"})
    assert answer.headers["allow"] == allow


def test_the_lists_follow_the_maps(stage):
    edge, settings = stage.edge()
    edge.step(Traffic())
    client = stage.client(settings)
    assert client.ask("/v2/models").json == {"models": []}
    assert client.ask("/v2/repository/index", "POST").json == []
    edge.step(Traffic(splits=SPLITS))
    assert client.ask("/v2/models").json == {"models": ["birds", "cats", "digits"]}


def test_a_long_list_is_cut_to_what_the_edge_can_say(stage):
    many = {f"endpoint-{number:04}-{'x' * 40}": list(range(1, 4)) for number in range(900)}
    lists = catalogue([], many, {})
    assert all(len(text) <= MAX_LIST_BYTES and " " not in text for text in lists.values())
    assert len(json.loads(lists["models"])["models"]) > 400
    assert len(json.loads(lists["index"])) > 200
    edge, settings = stage.edge()
    edge.step(Traffic())
    edge.step(Traffic(versions=many))
    assert stage.client(settings).ask("/v2/models").body.decode() == lists["models"]
    assert edge.step(Traffic(versions=many)).has_changed is False


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("header", "x-rayloop-user"),
        ("header", "Authorization"),
        ("header", "a b"),
        ("cookie", "a)b"),
        ("cookie", ""),
        ("query", "a"),
    ],
)
def test_an_unfit_name_never_reaches_the_configuration(kind, name):
    with pytest.raises(InvalidInput, match="sticky"):
        Sticky(kind, name)


def test_what_projects_say_reaches_the_edge(own_home):
    workspace = Workspace(Settings.load({}, home=own_home))
    data = {"source": "data.parquet", "target": "label"}
    serve = {"endpoint": "numbers", "aliases": ["digits-live"], "sticky": {"cookie": "uid"}}
    for project in (
        {"name": "digits", "data": data, "serve": serve},
        {"name": "cats", "data": data},
        {"name": "dogs", "data": data, "serve": {"aliases": ["digits-live"]}},
    ):
        workspace.projects.save(Project.model_validate(project), "code")
    found = desired_traffic(workspace)
    assert found.sticky == {"numbers": Sticky("cookie", "uid")}
    assert found.aliases == {"digits-live": "numbers"}
    assert found.access.is_open
    with workspace.database.transaction() as connection:
        connection.exec_driver_sql("""update project set config = '{"name": "dogs"}' where name = 'dogs'""")
    assert set(workspace.projects.served()) == {"numbers", "cats"}
    workspace.close()
