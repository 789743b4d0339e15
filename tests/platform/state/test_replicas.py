"""Where replicas listen: said, taken back, taken over, and forgotten."""

from __future__ import annotations

import time

import pytest
from rayloop.platform.state import Database, Replica, Replicas
from rayloop.platform.state.replicas import YOUNG_S

FIRST, SECOND = Replica("r1", "m", 1, "127.0.0.1:9001"), Replica("r2", "m", 2, "127.0.0.1:9002")


@pytest.fixture
def replicas(tmp_path) -> Replicas:
    return Replicas(Database(f"sqlite:///{tmp_path / 'state.db'}"))


def test_what_is_said_is_there_until_it_is_taken_back(replicas: Replicas) -> None:
    replicas.add(SECOND)
    replicas.add(FIRST)
    assert replicas.all() == [FIRST, SECOND]
    replicas.release(FIRST.address)
    replicas.release(FIRST.address)
    assert replicas.all() == [SECOND]


def test_an_address_has_one_replica(replicas: Replicas) -> None:
    replicas.add(FIRST)
    heir = Replica("r3", "other", 7, FIRST.address)
    replicas.add(heir)
    assert replicas.all() == [heir]


def test_a_replica_says_where_it_answers_grpc(replicas: Replicas) -> None:
    speaks = Replica("r4", "m", 1, "127.0.0.1:9004", "127.0.0.1:9005")
    replicas.add(speaks)
    assert replicas.all() == [speaks]
    heir = Replica("r5", "m", 1, "127.0.0.1:9005")  # its listener has the other's port
    replicas.add(heir)
    assert replicas.all() == [heir]


def test_those_that_stop_are_dropped_whatever_their_age(replicas: Replicas) -> None:
    replicas.add(FIRST)
    replicas.add(SECOND)
    replicas.drop(set())
    replicas.drop({"r1", "elsewhere"})
    assert replicas.all() == [SECOND]


def test_the_dead_are_forgotten_and_the_young_are_not(replicas: Replicas) -> None:
    replicas.add(FIRST)
    replicas.add(SECOND)
    assert replicas.keep({"r1"}) == 0  # Serve may not count it yet
    later_s = time.time() + YOUNG_S + 1
    assert replicas.keep({"r1", "elsewhere"}, later_s) == 1
    assert replicas.all() == [FIRST]
    assert replicas.keep({"r1"}, later_s) == 0
    assert replicas.keep(set(), later_s) == 1
