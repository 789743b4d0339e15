"""The edge names the shadows of a request to its replica, and knows a copy by the secret alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from rayloop.platform.traffic import Shadow, Split, Variant
from rayloop.serve.edge import AdminSocket, Traffic, read_counts

from .conftest import SECRET, free_port

INFER = "/v2/models/digits/infer"
VERSIONS = {"digits": [2, 3, 4, 5]}
COPY = {"x-rayloop-secret": SECRET, "x-rayloop-variant": "shadow"}


def split_with(*shadows: Shadow, revision: int = 7) -> Split:
    return Split("digits", (Variant(2, 5_000), Variant(3, 5_000)), revision, shadows)


@pytest.fixture(scope="module")
def served(shared_stage):
    edge, settings = shared_stage.edge()
    edge.ensure_running()
    return edge, settings


@pytest.fixture
def edge(served):
    edge, _ = served
    edge.apply([split_with(Shadow(4, 10_000), Shadow(5, 10_000))], VERSIONS)
    return edge


@pytest.fixture
def client(edge, served, shared_stage):
    return shared_stage.client(served[1])


@pytest.mark.parametrize("path", [INFER, "/v1/models/digits:predict", "/mlflow/digits/invocations"])
def test_a_request_that_the_split_answers_names_its_shadows(client, path):
    headers = client.ask(path, "POST", {}, b"{}").json["headers"]
    assert headers["x-rayloop-shadow"] == "5,4"
    assert headers["x-rayloop-variant"] == "split"
    assert headers["x-rayloop-version"] in {"2", "3"}


def test_a_share_is_kept_whatever_version_answers_and_whoever_asks(edge, client):
    edge.apply([split_with(Shadow(4, 2_000), Shadow(5, 2_000), revision=8)], VERSIONS)
    requests, sticky = 3000, 200
    seen = Counter()
    for _ in range(requests):
        headers = client.ask(INFER, "POST", {}, b"{}").json["headers"]
        seen[headers["x-rayloop-version"], headers.get("x-rayloop-shadow")] += 1
    assert set(seen) == {("2", None), ("3", None), ("2", "5,4"), ("3", "5,4")}  # both or none: one draw
    copied = seen["2", "5,4"] + seen["3", "5,4"]
    assert abs(copied - requests * 0.2) < 6 * math.sqrt(requests * 0.2 * 0.8)
    assert abs(seen["2", "5,4"] - copied / 2) < 6 * math.sqrt(copied / 4)  # apart from the bucket
    alice = Counter(
        client.ask(INFER, "POST", {"x-session-id": "alice"}, b"{}").json["headers"].get("x-rayloop-shadow")
        for _ in range(sticky)
    )
    assert abs(alice["5,4"] - sticky * 0.2) < 6 * math.sqrt(sticky * 0.2 * 0.8)


def test_shares_nest(edge, client):
    edge.apply([split_with(Shadow(4, 10_000), Shadow(5, 5_000), revision=8)], VERSIONS)
    seen = {client.ask(INFER, "POST", {}, b"{}").json["headers"]["x-rayloop-shadow"] for _ in range(100)}
    assert seen == {"4", "5,4"}


def test_as_many_shadows_as_a_split_may_have(edge, client):
    shadows = [Shadow(version, 10_000) for version in (11, 12, 13, 14)]
    edge.apply([split_with(*shadows, revision=8)], {"digits": [2, 3, 11, 12, 13, 14]})
    assert client.ask(INFER, "POST", {}, b"{}").json["headers"]["x-rayloop-shadow"] == "14,13,12,11"


def test_a_split_without_shadows_names_none(edge, client):
    edge.apply([split_with(revision=8)], VERSIONS)
    answer = client.ask(INFER, "POST", {"x-rayloop-shadow": "4"}, b"{}")
    assert "x-rayloop-shadow" not in answer.json["headers"]


def test_shadows_end_and_begin_with_one_change_and_no_new_process(edge, served, client):
    changes = edge.apply([split_with(revision=8)], VERSIONS)
    assert [change.value for change in changes if change.key == "digits"] == ["8|5000:3:5000|10000:2:5000"]
    assert "x-rayloop-shadow" not in client.ask(INFER, "POST", {}, b"{}").json["headers"]
    changes = edge.apply([split_with(Shadow(4, 10_000), revision=9)], VERSIONS)
    assert [change.value for change in changes if change.key == "digits"] == ["9|5000:3:5000|10000:2:5000|s:4:10000"]
    headers = client.ask(INFER, "POST", {}, b"{}").json["headers"]
    assert (headers["x-rayloop-shadow"], headers["x-rayloop-revision"]) == ("4", "9")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/models/digits/versions/2/infer"), ("POST", "/v1/models/digits/versions/3:predict"), ("GET", INFER)],
)
def test_what_is_pinned_or_has_no_body_is_not_copied(client, method, path):
    assert "x-rayloop-shadow" not in client.ask(path, method).json["headers"]


@pytest.mark.parametrize("path", [INFER, "/v1/models/digits:predict", "/mlflow/digits/invocations"])
def test_a_copy_reaches_its_version_and_is_not_copied_again(client, path):
    answer = client.ask(path, "POST", COPY | {"x-rayloop-version": "4", "x-request-id": "same"}, b"{}")
    headers = answer.json["headers"]
    assert answer.json["path"] == f"/__v/digits--v4{path}"
    assert (headers["x-rayloop-variant"], headers["x-rayloop-version"]) == ("shadow", "4")
    assert (headers["x-request-id"], headers["x-rayloop-propensity"]) == ("same", "10000")
    assert "x-rayloop-shadow" not in headers
    assert "x-rayloop-bucket" not in headers


@pytest.mark.parametrize("secret", [{}, {"x-rayloop-secret": "test-secret-012345678"}, {"x-rayloop-secret": ""}])
def test_who_has_no_secret_sends_no_copy(client, secret):
    forged = {"x-rayloop-variant": "shadow", "x-rayloop-version": "4"} | secret
    headers = client.ask(INFER, "POST", forged, b"{}").json["headers"]
    assert headers["x-rayloop-variant"] == "split"
    assert headers["x-rayloop-version"] in {"2", "3"}


def test_the_secret_alone_makes_no_copy(client):
    given = {"x-rayloop-secret": SECRET, "x-rayloop-version": "4"}
    for more in ({}, {"x-rayloop-variant": "pinned"}):
        headers = client.ask(INFER, "POST", given | more, b"{}").json["headers"]
        assert headers["x-rayloop-variant"] == "split"
        assert headers["x-rayloop-version"] in {"2", "3"}


def test_a_copy_for_a_version_that_is_gone_is_404(client):
    answer = client.ask(INFER, "POST", COPY | {"x-rayloop-version": "9"}, b"{}")
    assert (answer.status, answer.json["error"]) == (404, 'version "9" of model "digits" is not served here')


def test_copies_are_counted_apart_from_the_requests_of_clients(stage):
    edge, settings = stage.edge(stage.settings(metrics_port=free_port()))
    edge.step(Traffic((split_with(Shadow(4, 10_000)),), VERSIONS))
    client = stage.client(settings)
    client.ask(INFER, "POST", COPY | {"x-rayloop-version": "4"}, b"{}")
    client.ask("/v2/models/digits/versions/4/infer", "POST", {}, b"{}")
    found = read_counts(AdminSocket(settings.admin_socket))
    assert {(count.version, count.variant, count.requests) for count in found} == {(4, "shadow", 1), (4, "pinned", 1)}
