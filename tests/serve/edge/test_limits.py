"""What the edge holds back, and how it speaks TLS."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import time
import warnings
from hashlib import sha256

import grpc
import httpx
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.settings import Settings
from rayloop.platform.traffic import Access, Shadow, Split, Variant
from rayloop.serve.edge import Traffic
from rayloop.serve.protocol.arrival import read_arrival
from rayloop.serve.shadow import Mirror, MirrorCounters, mirror_of
from rayloop.serve.trust import edge_trust, require_certificate
from rayloop.serve.versions import wait_for_edge

INFER = "/v2/models/digits/infer"
SPLIT = Split.parse("digits", ["3=100"], revision=7)
TOKENS = {name: f"rl_{name * 43}" for name in "ab"}
GRANTS = {sha256(made.encode()).hexdigest(): f"inference|{name}" for name, made in TOKENS.items()}


def bearer(name):
    return {"authorization": f"Bearer {TOKENS[name]}"}


def test_a_token_that_asks_too_often_is_429_and_another_is_not(stage):
    edge, settings = stage.edge(stage.settings(requests_per_s=20))
    edge.step(Traffic((SPLIT,), {}, Access(False, GRANTS)))
    client = stage.client(settings)
    answers = [client.ask(INFER, headers=bearer("a")) for _ in range(60)]
    refused = [answer for answer in answers if answer.status == 429]
    assert 20 <= len(answers) - len(refused) <= 40  # a second may have begun anew meanwhile
    assert refused[-1].json == {"error": "too many requests"}
    assert refused[-1].headers["retry-after"] == "1"
    assert client.ask(INFER, headers=bearer("b")).status == 200
    assert client.ask(INFER, headers={"authorization": "Bearer wrong"}).status == 401
    assert client.ask("/v2/health/live").status == 200
    ours = {"x-rayloop-secret": settings.secret}
    assert {client.ask(INFER, headers=ours).status for _ in range(40)} == {200}
    time.sleep(2.1)
    assert client.ask(INFER, headers=bearer("a")).status == 200


def test_on_an_open_edge_an_address_is_held_back(stage):
    edge, settings = stage.edge(stage.settings(requests_per_s=5))
    edge.step(Traffic((SPLIT,)))
    client = stage.client(settings)
    assert [client.ask(INFER).status for _ in range(20)].count(429) >= 10


def test_without_a_limit_nothing_is_counted(stage):
    edge, settings = stage.edge()
    edge.step(Traffic((SPLIT,)))
    client = stage.client(settings)
    assert {client.ask(INFER).status for _ in range(300)} == {200}
    assert "stick-table" not in (stage.folder / "edge" / "haproxy.cfg").read_text()


def test_a_connection_beyond_the_limit_waits(stage):
    edge, settings = stage.edge(stage.settings(max_connections=2))
    edge.step(Traffic((SPLIT,)))
    first, second = stage.client(settings), stage.client(settings)
    assert (first.ask(INFER).status, second.ask(INFER).status) == (200, 200)
    third = http.client.HTTPConnection("127.0.0.1", settings.bind_port, timeout=0.5)
    third.request("GET", INFER)
    with pytest.raises(TimeoutError):
        third.getresponse()
    third.close()
    first.close()
    assert stage.client(settings).ask(INFER).status == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *subject]
    subprocess.run(command, check=True, capture_output=True)
    whole = folder / "edge.pem"
    whole.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return whole


def test_an_edge_with_a_certificate_speaks_tls_alone(stage, certificate):
    edge, settings = stage.edge(stage.settings(certificate=certificate))
    edge.step(Traffic((SPLIT,)))
    url = f"https://127.0.0.1:{settings.bind_port}"
    assert httpx.get(url + INFER, verify=ssl.create_default_context(cafile=str(certificate))).status_code == 200
    with pytest.raises(httpx.ConnectError, match=r"(?i)self.signed"):
        httpx.get(url + INFER)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url.replace("https", "http") + INFER)
    old = ssl.create_default_context(cafile=str(certificate))
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + INFER, verify=old)


def test_our_own_processes_trust_the_edge_by_its_file(stage, certificate, tmp_path):
    edge, settings = stage.edge(stage.settings(certificate=certificate))
    edge.step(Traffic((SPLIT,)))
    port = settings.bind_port
    ours = Settings.load({}, home=tmp_path, edge_port=port, edge_certificate=str(certificate))
    assert wait_for_edge(ours, SPLIT)
    assert edge_trust(Settings.load({}, home=tmp_path, edge_certificate="/nowhere/edge.pem")) is True
    assert edge_trust(Settings.load({}, home=tmp_path)) is True


def test_our_own_processes_are_known_to_a_closed_edge_by_the_secret(stage, tmp_path):
    edge, settings = stage.edge()
    edge.step(Traffic((SPLIT,), {}, Access(False, GRANTS)))
    ours = Settings.load({}, home=tmp_path, edge_port=settings.bind_port)
    assert not wait_for_edge(ours, SPLIT, timeout_s=0.2)
    assert not (tmp_path / "store").exists()
    secret = tmp_path / "store" / "edge" / "secret"
    secret.parent.mkdir(parents=True)
    secret.write_text(settings.secret)
    assert wait_for_edge(ours, SPLIT)


def test_the_copies_of_a_replica_pass_a_closed_edge_over_tls(stage, certificate, tmp_path):
    edge, settings = stage.edge(stage.settings(certificate=certificate, requests_per_s=1))
    split = Split("digits", (Variant(3, 10_000),), 7, (Shadow(4, 10_000),))
    edge.step(Traffic((split,), {"digits": (3, 4)}, Access(False, GRANTS)))
    ours = Settings.load({}, home=tmp_path, edge_port=settings.bind_port, edge_certificate=str(certificate))
    mirror = mirror_of(ours, settings.secret, "127.0.0.1:6379")
    for _ in range(20):
        mirror.offer("/mlflow/digits/invocations", {}, b"{}", read_arrival({}), "4")
    assert mirror.flush()
    assert mirror.counters() == MirrorCounters(20, 0, 0, 0)
    assert set(stage.backend.seen) == {"/__v/digits--v4/mlflow/digits/invocations"}
    assert mirror.close()
    stranger = Mirror(ours.edge_url, "another-secret-01234", edge_trust(ours))
    stranger.offer("/mlflow/digits/invocations", {}, b"{}", read_arrival({}), "4")
    assert stranger.flush()
    assert stranger.counters() == MirrorCounters(0, 0, 1, 0)
    assert stranger.close()


def test_a_certificate_that_is_none_is_refused(certificate, tmp_path):
    require_certificate(Settings.load({}, home=tmp_path))
    require_certificate(Settings.load({}, home=tmp_path, edge_certificate=str(certificate)))
    (tmp_path / "text.pem").write_text("hello")
    for path in (tmp_path / "none.pem", tmp_path / "text.pem", certificate.parent / "cert.pem", tmp_path):
        with pytest.raises(InvalidInput, match=r"RAYLOOP_EDGE_CERTIFICATE=.*PEM file") as error:
            require_certificate(Settings.load({}, home=tmp_path, edge_certificate=str(path)))
        assert "\n" not in str(error.value)


def test_grpc_needs_the_certificate_too(stage, certificate):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        grpc_port = probe.getsockname()[1]
    edge, _ = stage.edge(stage.settings(certificate=certificate, grpc_port=grpc_port))
    edge.step(Traffic((SPLIT,)))
    method, trusted = "/inference.GRPCInferenceService/ServerLive", grpc.ssl_channel_credentials
    for credentials, says in [(trusted(certificate.read_bytes()), "no replica"), (None, "")]:
        target = f"localhost:{grpc_port}"
        channel = grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)
        with channel, pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(method)(b"", timeout=5)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert ("no replica of this version answers gRPC" in raised.value.details()) == bool(says)
