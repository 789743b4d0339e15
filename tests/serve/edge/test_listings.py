"""What the edge tells by itself: liveness, lists in each protocol's words, and its OpenAPI document."""

from __future__ import annotations

import pytest
from rayloop.platform.traffic import Access, Split
from rayloop.serve.edge import Traffic
from rayloop.serve.edge.catalogue import catalogue
from rayloop.serve.edge.listings import document_text

SPLITS = (Split.parse("digits", ["3=50", "4=50"], revision=7),)
DESIRED = Traffic(splits=SPLITS, versions={"digits": (3, 4, 5), "birds": (1,)}, aliases={"numbers": "digits"})


@pytest.fixture(scope="module")
def edge_and_client(shared_stage):
    edge, settings = shared_stage.edge()
    edge.step(DESIRED)
    return edge, shared_stage.client(settings)


@pytest.fixture
def client(edge_and_client):
    return edge_and_client[1]


def shown(name):
    return {
        "name": name,
        "endpoint_type": "rayloop/v1/invocations",
        "model": {"name": name, "provider": "rayloop"},
        "endpoint_url": f"/endpoints/{name}/invocations",
        "limit": None,
    }


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", {"status": "alive"}),
        ("/v2/health/live", {"live": True}),
        ("/v1/models", {"models": ["birds", "digits", "numbers"]}),
        ("/api/2.0/endpoints/", {"endpoints": [shown("digits"), shown("numbers")]}),
        ("/api/2.0/endpoints", {"endpoints": [shown("digits"), shown("numbers")]}),
        ("/api/2.0/endpoints/digits", shown("digits")),
        ("/api/2.0/endpoints/numbers", shown("numbers")),
    ],
)
def test_what_is_told(client, path, said):
    answer = client.ask(path)
    assert (answer.status, answer.json) == (200, said)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", ["birds", "dogs", "/", "digits/x", "a%22b"])
def test_an_endpoint_without_a_split_cannot_be_asked(client, name):
    answer = client.ask(f"/api/2.0/endpoints/{name}")
    assert (answer.status, list(answer.json)) == (404, ["error"])


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/health/live", "/v2/health/ready", "/openapi.json"])
def test_what_is_told_may_be_asked_for_its_head_alone(client, path):
    head, whole = client.ask(path, "HEAD"), client.ask(path)
    assert (head.status, head.body, head.headers["content-length"]) == (whole.status, b"", str(len(whole.body)))
    refused = client.ask(path, "POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/api/2.0/endpoints/", "/api/2.0/endpoints/digits", "/v1/models"])
def test_lists_are_read_only(client, path):
    refused = client.ask(path, "DELETE")
    assert (refused.status, refused.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("body", "count"), [(b"", 4), (b"{}", 4), (b'{"ready": false}', 4), (b'{"ready": true}', 2), (b"\xff{", 4)]
)
def test_the_index_can_be_of_ready_versions_alone(client, body, count):
    index = client.ask("/v2/repository/index", "POST", body=body).json
    assert len(index) == count
    assert index[-1] == {
        "name": "digits",
        "version": "4" if count == 2 else "5",
        "state": "READY" if count == 2 else "UNKNOWN",
        "reason": "",
    }


@pytest.mark.parametrize("name", ["digits", "numbers"])
def test_a_query_of_mlflow_deployments_is_mlflow_s_scoring(client, name):
    answer = client.ask(f"/endpoints/{name}/invocations", "POST", body=b"{}")
    version = answer.headers["x-rayloop-version"]
    assert answer.json["path"] == f"/__v/digits--v{version}/mlflow/digits/invocations"
    for path in ("/endpoints/digits/ping", "/endpoints/", "/endpoints/a/b/invocations"):
        assert client.ask(path).status == 404


def test_the_document_fits_the_smallest_buffer(stage):
    edge, settings = stage.edge(stage.settings(max_body_bytes=1024))
    edge.step(DESIRED)
    answer = stage.client(settings).ask("/openapi.json")
    assert (answer.status, answer.body.decode()) == (200, document_text())
    assert answer.headers["content-type"] == "application/json"


def test_without_a_token_only_health_is_told(stage):
    edge, settings = stage.edge()
    edge.step(Traffic(splits=SPLITS, access=Access(is_open=False)))
    client = stage.client(settings)
    told = {path: client.ask(path).status for path in ("/", "/v2/health/live", "/openapi.json", "/v1/models", "/v2")}
    assert told == {"/": 200, "/v2/health/live": 200, "/openapi.json": 401, "/v1/models": 401, "/v2": 401}


def test_the_lists_name_aliases_of_what_can_be_asked():
    lists = catalogue(SPLITS, {"digits": [3], "birds": [1]}, {"numbers": "digits", "flying": "birds", "x": "nobody"})
    assert lists["models"] == '{"models":["birds","digits","flying","numbers"]}'
    assert '"flying"' not in lists["endpoints"]
    assert '"numbers"' in lists["endpoints"]
