"""What the edge counts for each version, and its metrics page, which only this machine reaches."""

from __future__ import annotations

import socket

import httpx
import pytest
from rayloop.platform.errors import Conflict
from rayloop.platform.traffic import Split
from rayloop.serve.edge import AdminSocket, Traffic, VersionCount, read_counts

DESIRED = Traffic((Split.parse("digits", ["3=100"], revision=7),), {"digits": (3, 4), "a.b--c": (1,)})

TEXT = """\
# TYPE rayloop_edge_requests_total counter
rayloop_edge_requests_total{endpoint="a.b--c",version="1",variant="pinned"} 1
rayloop_edge_requests_total{endpoint="digits",version="3",variant="split"} 6
rayloop_edge_requests_total{endpoint="digits",version="4",variant="pinned"} 1
# TYPE rayloop_edge_client_errors_total counter
rayloop_edge_client_errors_total{endpoint="a.b--c",version="1",variant="pinned"} 0
rayloop_edge_client_errors_total{endpoint="digits",version="3",variant="split"} 2
rayloop_edge_client_errors_total{endpoint="digits",version="4",variant="pinned"} 0
# TYPE rayloop_edge_server_errors_total counter
rayloop_edge_server_errors_total{endpoint="a.b--c",version="1",variant="pinned"} 0
rayloop_edge_server_errors_total{endpoint="digits",version="3",variant="split"} 2
rayloop_edge_server_errors_total{endpoint="digits",version="4",variant="pinned"} 0
"""


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_requests_and_errors_are_counted_for_each_version(stage, free_port):
    edge, settings = stage.edge(stage.settings(metrics_port=free_port))
    edge.step(DESIRED)
    client = stage.client(settings)
    for status in (200, 200, 400, 404, 500, 503):
        assert client.ask(f"/v2/models/digits/infer?status={status}").status == status
    client.ask("/v2/models/digits/versions/4")
    client.ask("/v2/models/a.b--c/versions/1")
    client.ask("/v2/models/dogs")
    expected = (
        VersionCount("a.b--c", 1, "pinned", 1, 0, 0),
        VersionCount("digits", 3, "split", 6, 2, 2),
        VersionCount("digits", 4, "pinned", 1, 0, 0),
    )
    assert tuple(read_counts(AdminSocket(settings.admin_socket))) == expected
    page = httpx.get(f"http://127.0.0.1:{free_port}/versions")
    assert page.text == TEXT
    assert page.headers["content-type"].startswith("text/plain")
    client.ask("/v2/models/digits/infer")
    assert '"3",variant="split"} 7\n' in httpx.get(page.url).text


def test_the_metrics_page_is_haproxy_s_own_and_not_on_the_edge(stage, free_port):
    edge, settings = stage.edge(stage.settings(metrics_port=free_port))
    edge.step(DESIRED)
    url = f"http://127.0.0.1:{free_port}"
    assert "haproxy_frontend_http_requests_total" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/versions").text.count("\n") == 3  # nothing was asked yet
    assert httpx.get(f"{url}/v2/models/digits").json() == {"error": "nothing is served at this path"}
    assert stage.client(settings).ask("/metrics").status == 404
    assert "test-secret" not in httpx.get(f"{url}/metrics").text
    assert edge.step(DESIRED).has_changed is False


def test_a_busy_metrics_port_is_named(stage):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        edge, _ = stage.edge(stage.settings(metrics_port=port))
        with pytest.raises(Conflict, match=f"cannot listen on 127.0.0.1:{port}"):
            edge.step(DESIRED)


def test_a_busy_grpc_port_is_named(stage):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        edge, _ = stage.edge(stage.settings(grpc_port=port))
        with pytest.raises(Conflict, match=f"cannot listen on 127.0.0.1:{port}"):
            edge.step(DESIRED)


def test_without_a_page_nothing_is_counted(stage):
    edge, settings = stage.edge()
    edge.step(DESIRED)
    stage.client(settings).ask("/v2/models/digits")
    assert read_counts(AdminSocket(settings.admin_socket)) == []
    assert not settings.page_script.exists()


def test_a_page_of_many_versions_is_whole(stage, free_port):
    edge, settings = stage.edge(stage.settings(metrics_port=free_port))
    many = {f"e{number:03}-{'x' * 50}": (1,) for number in range(600)}
    edge.step(Traffic(versions=many))
    client = stage.client(settings)
    for name in many:
        client.ask(f"/v2/models/{name}/versions/1")
    text = httpx.get(f"http://127.0.0.1:{free_port}/versions").text
    assert text.count("\n") == 3 * 601
    assert text.endswith(f'{{endpoint="e599-{"x" * 50}",version="1",variant="pinned"}} 0\n')
