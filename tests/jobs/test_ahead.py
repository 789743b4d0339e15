"""What a thread makes ahead comes in order, with its errors; no more is made than is asked for, and the thread ends."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from rayloop.jobs.training.ahead import AHEAD, Ahead

TIMEOUT_S = 30.0


class Thing:
    """Something whose end can be seen."""


class Source:
    """Things, and who asked for them when."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.asked = 0
        self.thread: threading.Thread | None = None
        self.alive: list[weakref.ref[Thing]] = []
        self.is_made = threading.Semaphore(0)

    def things(self) -> Iterator[Thing]:
        self.thread = threading.current_thread()
        for _ in range(self.count):
            self.asked += 1
            yield self._thing()
        if self.error is not None:
            raise self.error

    def _thing(self) -> Thing:
        made = Thing()
        self.alive.append(weakref.ref(made))
        self.is_made.release()
        return made


def ended(source: Source) -> bool:
    assert source.thread is not None
    source.thread.join(TIMEOUT_S)
    return not source.thread.is_alive()


def test_everything_comes_in_order_and_the_thread_ends() -> None:
    source = Source(20)
    ahead = Ahead(iter(range(20)))
    assert list(ahead) == list(range(20))
    given = list(Ahead(source.things()))
    assert len(given) == 20
    assert source.thread is not threading.current_thread()
    assert ended(source)


def test_an_error_comes_where_it_happened() -> None:
    ahead = Ahead(Source(2, ValueError("no third")).things())
    assert [type(next(ahead)) for _ in range(2)] == [Thing, Thing]
    with pytest.raises(ValueError, match="no third"):
        next(ahead)


def test_it_begins_at_once_and_makes_no_more_than_it_may() -> None:
    source = Source(20)
    ahead = Ahead(source.things())
    assert all(source.is_made.acquire(timeout=TIMEOUT_S) for _ in range(AHEAD + 1))
    assert not source.is_made.acquire(timeout=0.3)  # one waits, one has no place to be put
    for _ in range(5):
        next(ahead)
        assert source.is_made.acquire(timeout=TIMEOUT_S)
    assert source.asked == AHEAD + 1 + 5
    ahead.close()


def test_it_holds_nothing_that_was_taken() -> None:
    source = Source(3)
    ahead = Ahead(source.things())
    for _ in range(3):
        next(ahead)
    assert ended(source)
    gc.collect()
    assert [known() for known in source.alive] == [None, None, None]


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_the_thread_ends_with_its_reader(how: str) -> None:
    source = Source(20)
    ahead = Ahead(source.things())
    next(ahead)
    if how == "closed":
        ahead.close()
    del ahead
    gc.collect()
    assert ended(source)
    assert source.asked <= AHEAD + 3
