"""Replicas that the edge asks itself: taken up and out while it runs, replaced when they die, never mixed up."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from rayloop.platform.traffic import Split
from rayloop.serve.edge import AdminSocket, Traffic
from rayloop.serve.edge.servers import FALLBACK, read_servers

from .conftest import Backend, eventually

INFER = "/v2/models/digits/infer"
SPLIT = Split.parse("digits", ["3=100"], revision=1)


def traffic(**replicas: list[Backend]) -> Traffic:
    """Version 3 and 4 of digits; version 3 has all traffic."""
    apps = {f"digits--{version}": [backend.address for backend in found] for version, found in replicas.items()}
    return Traffic(splits=(SPLIT,), versions={"digits": [3, 4]}, replicas=apps)


@pytest.fixture
def replicas():
    made = [Backend().start() for _ in range(3)]
    yield made
    for backend in made:
        backend.end()


def test_replicas_are_asked_and_serves_proxy_is_not(stage, replicas):
    edge, settings = stage.edge()
    edge.step(traffic(v3=replicas[:2]))
    client = stage.client(settings)
    eventually(lambda: client.ask(INFER).status == 200 and not stage.backend.seen)
    for backend in replicas:
        backend.seen.clear()
    for _ in range(40):
        assert client.ask(INFER).json["path"] == f"/__v/digits--v3{INFER}"
    assert Counter(map(len, (backend.seen for backend in replicas))).keys() == {20, 0}
    assert not stage.backend.seen
    assert client.ask("/v2/models/digits/versions/4/infer").status == 200  # it has no replica that is known
    assert len(stage.backend.seen) == 1


def test_a_step_that_finds_all_as_it_should_be_changes_nothing(stage, replicas):
    edge, _ = stage.edge()
    first = edge.step(traffic(v3=replicas[:2]))
    assert [(change.verb, change.address) for change in first.servers] == [
        ("up", address) for address in sorted(backend.address for backend in replicas[:2])
    ]
    assert not edge.step(traffic(v3=replicas[:2])).has_changed


def test_a_replica_comes_and_another_goes_without_a_reload(stage, replicas):
    edge, settings = stage.edge()
    pid = edge.step(traffic(v3=replicas[:1])).pid
    client = stage.client(settings)
    assert client.ask(INFER).status == 200
    report = edge.step(traffic(v3=replicas[1:2]))
    assert (report.process, report.pid) == ("running", pid)
    assert {(change.verb, change.address) for change in report.servers} == {
        ("out", replicas[0].address),
        ("up", replicas[1].address),
    }
    replicas[0].seen.clear()
    for _ in range(20):
        assert client.ask(INFER).status == 200
    assert not replicas[0].seen
    eventually(lambda: not edge.step(traffic(v3=replicas[1:2])).has_changed)
    (servers,) = read_servers(AdminSocket(settings.admin_socket)).values()
    assert list(servers) == [replicas[1].address]


def test_a_dead_replica_costs_no_answer(stage, replicas):
    edge, settings = stage.edge()
    edge.step(traffic(v3=replicas[:2]))
    client = stage.client(settings)
    replicas[0].stop()
    answers = [client.ask(INFER, "POST", body=b"1") for _ in range(30)]
    assert {answer.status for answer in answers} == {200}
    assert not stage.backend.seen


def test_requests_of_a_lone_dead_replica_go_to_serves_proxy(stage, replicas):
    edge, settings = stage.edge()
    edge.step(traffic(v3=replicas[:1]))
    client = stage.client(settings)
    assert client.ask(INFER).status == 200
    replicas[0].stop()
    began_s = time.monotonic()
    assert {client.ask(INFER, "POST", body=b"1").status for _ in range(10)} == {200}
    assert time.monotonic() - began_s < 5
    assert len(stage.backend.seen) == 10
    replicas[0].start()
    eventually(lambda: client.ask(INFER).status == 200 and len(replicas[0].seen) > 1)


def test_a_replica_that_breaks_off_is_asked_for_nothing_twice_by_the_client(stage, replicas):
    edge, settings = stage.edge()
    edge.step(traffic(v3=replicas[:2]))
    client = stage.client(settings)
    assert {client.ask(f"{INFER}?drop=1&n={number}", "POST", body=b"1").status for number in range(10)} == {200}


def test_a_killed_edge_comes_back_with_its_replicas(stage, replicas):
    edge, settings = stage.edge()
    stage.kill(edge.step(traffic(v3=replicas[:1])).pid)
    assert edge.step(traffic(v3=replicas[:1])).process == "started"
    client = stage.client(settings)
    assert client.ask(INFER).status == 200
    assert not stage.backend.seen


def test_a_slot_is_given_on_only_once_it_is_empty(stage, replicas):
    edge, settings = stage.edge(stage.settings(slots=2))
    edge.step(traffic(v3=replicas[:1], v4=replicas[1:2]))
    edge.step(Traffic(splits=(SPLIT,), versions={"digits": [3, 4]}, replicas={"other--v1": [replicas[2].address]}))
    slots = settings.slots_map.read_text()
    assert "slot" not in slots  # both still had servers of others
    edge.step(Traffic(splits=(SPLIT,), versions={"digits": [3, 4]}, replicas={"other--v1": [replicas[2].address]}))
    assert settings.slots_map.read_text() == "other--v1 slot0\n"
    servers = read_servers(AdminSocket(settings.admin_socket))
    assert servers == {"slot0": {replicas[2].address: True}}
    assert FALLBACK not in servers["slot0"]


def test_more_versions_than_slots_make_more_slots(stage, replicas):
    edge, settings = stage.edge(stage.settings(slots=1))
    edge.step(traffic(v3=replicas[:1]))
    client = stage.client(settings)
    assert client.ask(INFER).status == 200
    assert edge.step(traffic(v3=replicas[:1], v4=replicas[1:2])).process == "reloaded"
    replicas[1].seen.clear()
    assert stage.client(settings).ask("/v2/models/digits/versions/4/infer").status == 200
    assert len(replicas[1].seen) == 1
