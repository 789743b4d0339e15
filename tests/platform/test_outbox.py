"""Whoever puts something in never waits or fails; what is delivered is in order, and what is lost is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from rayloop.platform.outbox import Outbox, Refused


class Receiver:
    """Takes what it is sent, but for the first `failures` times and for what it refuses."""

    def __init__(self, failures: int = 0, refuses: int | None = None) -> None:
        self.failures, self.refuses = failures, refuses
        self.taken: list[int] = []
        self.is_open = threading.Event()
        self.is_open.set()

    def __call__(self, items: Sequence[int]) -> None:
        self.is_open.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        if self.refuses in items:
            raise Refused(f"{self.refuses} is wrong")
        self.taken += items


def outbox(receiver: Receiver, capacity: int = 100) -> Outbox[int]:
    return Outbox(receiver, "test", capacity=capacity, first_wait_s=0.01, longest_wait_s=0.02)


def test_all_of_it_arrives_once_and_in_order() -> None:
    receiver = Receiver()
    box = outbox(receiver, capacity=1000)
    assert all(box.put(number) for number in range(700))
    assert box.close(10) == []
    assert receiver.taken == list(range(700))


def test_a_receiver_that_was_away_gets_it_later() -> None:
    receiver = Receiver(failures=3)
    box = outbox(receiver)
    for number in range(5):
        box.put(number)
    assert box.flush(10)
    assert receiver.taken == list(range(5))
    assert box.failures == 3


def test_what_is_refused_takes_nothing_else_with_it() -> None:
    receiver = Receiver(refuses=2)
    receiver.is_open.clear()  # so that all of it is one batch
    box = outbox(receiver)
    for number in range(5):
        box.put(number)
    receiver.is_open.set()
    assert box.flush(10)
    assert sorted(receiver.taken) == [0, 1, 3, 4]
    assert box.refused == 1


def test_a_full_queue_drops_and_counts_and_never_waits(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    receiver.is_open.clear()
    box = outbox(receiver, capacity=10)
    began_s = time.monotonic()
    taken = [box.put(number) for number in range(5_000)]
    assert time.monotonic() - began_s < 2
    assert taken.count(True) == 10
    assert box.dropped == 4_990
    assert caplog.records[0].message.endswith("the queue is full, 1 dropped so far")
    assert len(caplog.records) == 5
    receiver.is_open.set()
    assert box.close(10) == []
    assert receiver.taken == list(range(10))


def test_what_is_left_at_the_end_is_given_back() -> None:
    receiver = Receiver(failures=10**9)
    box = outbox(receiver)
    for number in range(3):
        box.put(number)
    assert not box.flush(0.05)
    assert box.close(0.05) == [0, 1, 2]
    assert not box.put(4)
