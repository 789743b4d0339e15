"""Makes things on a thread while the ones before are used; it does not know what they are."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

AHEAD = 1  # made and not yet asked for, beside the one that is being made: each takes its memory
PERIOD_S = 0.1  # between two looks at whether anybody still waits

T = TypeVar("T")


class Ahead(Generic[T]):
    """An iterator over what another one gives, on a thread that begins at once.

    The thread ends with `close`, with its iterator, or when nobody holds this any more: so the iterator must not.
    """

    def __init__(self, things: Iterator[T]) -> None:
        self._made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(AHEAD)
        is_over = threading.Event()
        self.close = weakref.finalize(self, is_over.set)
        """End the thread."""
        threading.Thread(target=_work, args=(things, self._made, is_over), daemon=True).start()

    def __iter__(self) -> Iterator[T]:
        """Itself."""
        return self

    def __next__(self) -> T:
        """Wait for the next. Raises what the iterator raised."""
        entry = self._made.get()
        if entry is None:
            raise StopIteration
        if isinstance(entry, BaseException):
            raise entry
        return entry[0]


def _work(things: Iterator[T], made: queue.Queue[tuple[T] | BaseException | None], is_over: threading.Event) -> None:
    def put(entry: tuple[T] | BaseException | None) -> None:
        while not is_over.is_set():
            try:
                made.put(entry, timeout=PERIOD_S)
                return
            except queue.Full:
                continue

    try:
        for thing in things:
            put((thing,))
            del thing  # else it would be held while the next is made
            if is_over.is_set():
                return
        put(None)
    except BaseException as error:
        put(error)
