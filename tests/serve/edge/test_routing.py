"""What a client and a replica see of a running edge."""

import http.client
import math
import socket
import threading
import time
import uuid

import pytest
from rayloop.platform.traffic import Split
from rayloop.serve.edge import AdminSocket, read_running

INFER = "/v2/models/digits/infer"


@pytest.fixture(scope="module")
def served(shared_stage):
    edge, settings = shared_stage.edge()
    edge.ensure_running()
    return edge, settings


@pytest.fixture
def edge(served):
    edge, _ = served
    edge.apply([Split.parse("digits", ["3=90", "4=10"], revision=7)], {"digits": [2, 3, 4]})
    return edge


@pytest.fixture
def client(edge, served, shared_stage):
    return shared_stage.client(served[1])


def test_a_split_keeps_its_shares(client):
    requests = 3000
    hits = sum(client.ask(INFER).headers["x-rayloop-version"] == "4" for _ in range(requests))
    deviation = math.sqrt(requests * 0.1 * 0.9)
    assert abs(hits - requests * 0.1) < 6 * deviation


def test_what_the_replica_gets(client):
    answer = client.ask(f"{INFER}?a=1", "POST", {"x-request-id": "abc", "x-session-id": "s1"}, b"12345")
    version = answer.headers["x-rayloop-version"]
    assert answer.json["path"] == f"/__v/digits--v{version}/v2/models/digits/infer?a=1"
    assert answer.json["method"] == "POST"
    assert answer.json["body_bytes"] == 5
    headers = answer.json["headers"]
    bucket = int(headers.pop("x-rayloop-bucket"))
    assert 0 <= bucket < 10_000
    assert version == ("4" if bucket < 1000 else "3")
    expected = {
        "x-rayloop-secret": "test-secret-0123456789",
        "x-rayloop-endpoint": "digits",
        "x-rayloop-version": version,
        "x-rayloop-variant": "split",
        "x-rayloop-propensity": {"3": "9000", "4": "1000"}[version],
        "x-rayloop-revision": "7",
        "x-request-id": "abc",
        "x-session-id": "s1",
        "x-request-disconnect-disabled": "?1",
    }
    assert {name: headers.get(name) for name in expected} == expected
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers["x-rayloop-revision"] == "7"


def test_a_request_without_an_id_gets_one(client):
    first, second = client.ask(INFER), client.ask(INFER, headers={"x-request-id": "x" * 129})
    for answer in (first, second):
        assert str(uuid.UUID(answer.headers["x-request-id"])) == answer.json["headers"]["x-request-id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v2/models/digits/versions/2/infer", "2"),
        ("/v2/models/digits/versions/4", "4"),
        ("/v1/models/digits/versions/3:predict", "3"),
    ],
)
def test_a_pinned_version_is_served_whatever_the_split_says(client, path, version):
    answer = client.ask(path, headers={"x-session-id": "s1"})
    assert answer.json["path"] == f"/__v/digits--v{version}{path}"
    headers = answer.json["headers"]
    assert headers["x-rayloop-variant"] == "pinned"
    assert headers["x-rayloop-version"] == version == answer.headers["x-rayloop-version"]
    assert headers["x-rayloop-propensity"] == "10000"
    assert headers["x-rayloop-revision"] == "7"
    assert "x-rayloop-bucket" not in headers


@pytest.mark.parametrize("path", ["/v1/models/digits:predict", "/v1/models/digits", "/v2/models/digits/ready"])
def test_every_path_of_a_model_is_split(client, path):
    answer = client.ask(path)
    assert answer.json["path"] == f"/__v/digits--v{answer.headers['x-rayloop-version']}{path}"


def test_a_version_can_be_pinned_without_a_split(edge, client):
    edge.apply([], {"digits": [3]})
    answer = client.ask("/v2/models/digits/versions/3/infer")
    assert answer.json["headers"]["x-rayloop-version"] == "3"
    assert "x-rayloop-revision" not in answer.json["headers"] | answer.headers
    assert client.ask(INFER).status == 404


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v2/models/cats/infer", 'model "cats" is not served here'),
        ("/v1/models/cats:predict", 'model "cats" is not served here'),
        ('/v2/models/a"b\\c/infer', 'model "a"b\\c" is not served here'),
        ("/v2/models/" + "x" * 100, 'model "' + "x" * 64 + '" is not served here'),
        ("/v2/models/", 'model "" is not served here'),
        ("/v2/models/digits/versions/9/infer", 'version "9" of model "digits" is not served here'),
        ("/v2/models/digits/versions/03/infer", 'version "03" of model "digits" is not served here'),
        ('/v2/models/digits/versions/"', 'version """ of model "digits" is not served here'),
        ("/v2/models/digits/versions", 'version "" of model "digits" is not served here'),
        ("/v2/models/digits/../../../__v/digits--v2", "nothing is served at this path"),
        ("/v1", "nothing is served at this path"),
        ("/metrics", "nothing is served at this path"),
    ],
)
def test_what_is_not_served_is_404(client, path, error):
    answer = client.ask(path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"error": error}
    assert "x-rayloop-version" not in answer.headers


@pytest.mark.parametrize("path", ["/__v/digits--v3/v2/models/digits/infer", "/__v/", "/__v", "http://h/__v/x"])
def test_hidden_paths_are_refused(client, path):
    answer = client.ask(path)
    assert answer.status == 403
    assert answer.json == {"error": "paths under /__v are not open to clients"}


def test_a_client_forges_nothing(client):
    forged = {
        "x-rayloop-version": "1",
        "X-Rayloop-Secret": "mine",
        "X-RAYLOOP-SHADOW": "digits--v9",
        "x-rayloop-bucket": "1",
        "x-request-disconnect-disabled": "?0",
    }
    headers = client.ask("/v2/models/digits/versions/3/infer", headers=forged).json["headers"]
    assert headers["x-rayloop-version"] == "3"
    assert headers["x-rayloop-secret"] == "test-secret-0123456789"
    assert headers["x-request-disconnect-disabled"] == "?1"
    assert "x-rayloop-shadow" not in headers
    assert "x-rayloop-bucket" not in headers


def test_the_secret_stays_behind_the_edge(client):
    # The replica of this test answers with the secret and with a version of its own.
    answer = client.ask(INFER)
    assert "test-secret-0123456789" not in str(answer.headers)
    assert answer.headers["x-rayloop-version"] in ("3", "4")


def test_a_session_never_flips_back_over_a_ramp(edge, client):
    sessions, held = [f"session-{number}" for number in range(1000)], set()
    for revision, percent in enumerate((0, 5, 20, 50, 100)):
        edge.apply([Split.parse("digits", [f"3={100 - percent}", f"4={percent}"], revision)], {})
        now = {
            session
            for session in sessions
            if client.ask(INFER, headers={"x-session-id": session}).headers["x-rayloop-version"] == "4"
        }
        assert held <= now
        assert abs(len(now) - 10 * percent) <= 6 * math.sqrt(1000 * percent / 100 * (1 - percent / 100))
        held = now


def test_eight_variants_are_told_apart(edge, client):
    shares = [f"{version}=12.5" for version in range(1, 9)]
    edge.apply([Split.parse("digits", shares, revision=1)], {})
    split = Split.parse("digits", shares, revision=1)
    for number in range(100):
        headers = client.ask(INFER, headers={"x-session-id": str(number)}).json["headers"]
        assert int(headers["x-rayloop-version"]) == split.variant_of(int(headers["x-rayloop-bucket"])).version


def test_a_session_falls_into_another_bucket_for_another_model(edge, client):
    edge.apply([Split.parse(name, ["1=100"], revision=1) for name in ("digits", "cats")], {})
    session = {"x-session-id": "s1"}
    buckets = [
        client.ask(f"/v2/models/{name}/infer", headers=session).json["headers"]["x-rayloop-bucket"]
        for name in ("digits", "digits", "cats")
    ]
    assert buckets[0] == buckets[1] != buckets[2]


def test_an_empty_session_is_no_session(client):
    buckets = {client.ask(INFER, headers={"x-session-id": ""}).json["headers"]["x-rayloop-bucket"] for _ in range(20)}
    assert len(buckets) > 1


def test_a_body_up_to_the_limit_passes(client, served):
    limit_bytes = served[1].max_body_bytes
    assert client.ask(INFER, "POST", body=b"x" * limit_bytes).json["body_bytes"] == limit_bytes


@pytest.mark.parametrize("excess_bytes", [1, 10_000, 5_000_000])
def test_a_larger_body_is_413(client, served, excess_bytes):
    answer = client.ask(INFER, "POST", body=b"x" * (served[1].max_body_bytes + excess_bytes))
    assert answer.status == 413
    assert answer.json == {"error": "the body is larger than 65536 bytes"}


def test_a_larger_chunked_body_is_413(client, served):
    chunks = iter([b"x" * 40_000] * 2)
    answer = client.ask(INFER, "POST", body=chunks)
    assert answer.status == 413
    assert "error" in answer.json
    assert client.ask(INFER, "POST", body=iter([b"x" * 900] * 3)).json["body_bytes"] == 2700


def test_a_body_larger_than_the_buffer_streams_if_it_says_its_length(stage):
    edge, settings = stage.edge(stage.settings(max_body_bytes=2_000_000, replay_body_bytes=16_384))
    edge.ensure_running()
    edge.apply([], {"digits": [1]})
    client, path = stage.client(settings), "/v2/models/digits/versions/1/infer"
    assert client.ask(path, "POST", body=b"x" * 2_000_000).json["body_bytes"] == 2_000_000
    answer = client.ask(path, "POST", body=b"x" * 2_000_001)
    assert answer.json == {"error": "the body is larger than 2000000 bytes"}
    answer = stage.client(settings).ask(path, "POST", body=iter([b"x" * 20_000] * 2))
    assert (answer.status, answer.json) == (
        413,
        {"error": "a body larger than 16384 bytes needs a content-length"},
    )


def test_what_is_no_http_is_400(served):
    with socket.create_connection(("127.0.0.1", served[1].bind_port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 400
        response.close()


def test_the_edge_answers_for_itself(client):
    assert client.ask("/v2/health/live").json == {"live": True}
    ready = client.ask("/v2/health/ready")
    assert (ready.status, ready.json) == (200, {"ready": True, "live": True})
    assert client.ask("/v2").json["name"] == "rayloop"


def test_a_dropped_connection_is_retried_with_the_largest_body(client, served, shared_stage):
    shared_stage.backend.seen.clear()
    body, headers = b"x" * served[1].buffered_body_bytes, {"x-long": "y" * 8000}
    answer = client.ask("/v2/models/digits/versions/3/infer?drop=1", "POST", headers, body)
    assert (answer.status, answer.json["body_bytes"]) == (200, len(body))
    assert len(shared_stage.backend.seen) == 2


def test_a_change_of_split_reaches_the_next_request_without_a_reload(edge, client, served, shared_stage):
    def pid():
        return AdminSocket(served[1].admin_socket).pid()

    before, failures, stop = pid(), [], threading.Event()

    def load():
        own = shared_stage.client(served[1])
        while not stop.is_set():
            if (answer := own.ask(INFER)).status != 200:
                failures.append(answer)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for revision in range(1, 101):
        version = str(3 + revision % 2)
        edge.apply([Split.parse("digits", [f"{version}=100"], revision)], {})
        answer = client.ask(INFER)
        assert (answer.headers["x-rayloop-version"], answer.headers["x-rayloop-revision"]) == (
            version,
            str(revision),
        )
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pid() == before


def test_the_running_map_is_read_back(edge, served):
    _, settings = served
    admin = AdminSocket(settings.admin_socket)
    assert read_running(admin, settings.split_map) == {"digits": "7|1000:4:1000|10000:3:9000"}
    assert len(read_running(admin, settings.versions_map)) == 3
    assert settings.split_map.read_text() == "digits 7|1000:4:1000|10000:3:9000\n"


def test_an_applied_state_is_not_pushed_again(edge):
    split = Split.parse("digits", ["3=90", "4=10"], revision=7)
    assert edge.apply([split], {"digits": [2, 3, 4]}) == ()
    assert [change.key for change in edge.apply([split], {"digits": [2, 4]})] == ["digits/3", "index", "ready"]


def test_a_slow_client_is_408_in_json(stage):
    edge, settings = stage.edge(stage.settings(request_timeout_s=0.2))
    edge.ensure_running()
    with socket.create_connection(("127.0.0.1", settings.bind_port), timeout=5) as connection:
        connection.sendall(b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nx")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()) == (
            408,
            b'{"error":"the request took too long to arrive"}',
        )
        response.close()


def test_a_slow_backend_is_504_in_json(stage):
    edge, settings = stage.edge(stage.settings(answer_timeout_s=0.2))
    edge.ensure_running()
    edge.apply([], {"digits": [1]})
    answer = stage.client(settings).ask("/v2/models/digits/versions/1?sleep_s=1")
    assert (answer.status, answer.json) == (504, {"error": "the model server took too long to answer"})


def test_a_long_answer_is_no_slow_client(stage):
    edge, settings = stage.edge(stage.settings(request_timeout_s=0.2))
    edge.ensure_running()
    edge.apply([], {"digits": [1]})
    path = "/v2/models/digits/versions/1?sleep_s=0.8"
    assert stage.client(settings).ask(path, "POST", body=b"{}").status == 200


def test_a_backend_that_is_down_is_503(stage, eventually):
    edge, settings = stage.edge()
    edge.ensure_running()
    edge.apply([], {"digits": [1]})
    client = stage.client(settings)
    stage.backend.stop()
    eventually(lambda: client.ask("/v2/health/ready").status == 503)
    assert client.ask("/v2/health/ready").json["ready"] is False
    assert client.ask("/v2/health/live").status == 200
    answer = client.ask("/v2/models/digits/versions/1/infer", "POST", body=b"{}")
    assert (answer.status, answer.json) == (503, {"error": "no model server is up"})
    stage.backend.start()
    eventually(lambda: client.ask("/v2/health/ready").status == 200)


def test_a_short_absence_of_the_backend_loses_no_request(stage):
    edge, settings = stage.edge()
    edge.ensure_running()
    edge.apply([], {"digits": [1]})
    client = stage.client(settings)
    stage.backend.stop()
    timer = threading.Timer(0.5, stage.backend.start)
    timer.start()
    began_s = time.monotonic()
    assert client.ask("/v2/models/digits/versions/1/infer", "POST", body=b"{}").status == 200
    assert time.monotonic() - began_s < 3
    timer.join()


def test_requests_go_to_the_fallback_while_the_backend_is_down(stage):
    other = type(stage.backend)().start()
    edge, settings = stage.edge(stage.settings(fallback_address=other.address))
    edge.ensure_running()
    edge.apply([], {"digits": [1]})
    client = stage.client(settings)
    stage.backend.stop()
    began_s = time.monotonic()
    statuses = {client.ask("/v2/models/digits/versions/1/infer").status for _ in range(50)}
    assert statuses == {200}
    assert time.monotonic() - began_s < 2
    assert len(other.seen) == 50
    other.end()
