"""A bounded queue with one thread that delivers from it in batches; whoever puts something in never waits or fails."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

CAPACITY = 5_000
MOST_IN_BATCH = 200
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
DROPS_A_WARNING = 1_000


class Refused(Exception):
    """What was sent is wrong and would be refused again: it is given up, and what came after it goes on."""


class Outbox(Generic[Item]):
    """Delivers items in their order, again until they are taken; what finds no room is dropped and counted."""

    def __init__(
        self,
        send: Callable[[Sequence[Item]], None],
        name: str,
        *,
        capacity: int = CAPACITY,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._send = send
        self._name = name
        self._capacity = capacity
        self._first_wait_s, self._longest_wait_s = first_wait_s, longest_wait_s
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_urgent = False
        self._is_closed = False
        self.dropped = 0
        """Items that found the queue full."""
        self.refused = 0
        """Items that the receiver will never take."""
        self.failures = 0
        """Deliveries that failed and were tried again."""

    def put(self, item: Item) -> bool:
        """Queue an item; False where there is no room for it."""
        with self._changed:
            if self._is_closed or len(self._waiting) >= self._capacity:
                self.dropped += 1
                if self.dropped % DROPS_A_WARNING == 1:
                    logger.warning("%s: the queue is full, %d dropped so far", self._name, self.dropped)
                return False
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"outbox {self._name}", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Try at once, and wait until everything is delivered; False where the time was too short."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting, max(0.0, deadline - time.monotonic()))
            self._is_urgent = False
        return done

    def close(self, timeout_s: float) -> list[Item]:
        """Flush and end; returns what could not be delivered."""
        self.flush(timeout_s)
        with self._changed:
            self._is_closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return left

    def _work(self) -> None:
        wait_s = self._first_wait_s
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._is_closed)
                if not self._waiting:
                    return
                batch = list(islice(self._waiting, MOST_IN_BATCH))
            try:
                self._deliver(batch)
            except Exception as error:
                self.failures += 1
                if self.failures == 1:
                    logger.warning("%s: not delivered, trying again: %s", self._name, _first_line(error))
                with self._changed:
                    # Somebody who waits for the end is worth a quicker try; a server that is down is not.
                    self._changed.wait(self._first_wait_s if self._is_urgent else wait_s)
                wait_s = min(2 * wait_s, self._longest_wait_s)
                continue
            wait_s = self._first_wait_s
            with self._changed:
                for _ in range(min(len(batch), len(self._waiting))):
                    self._waiting.popleft()
                self._changed.notify_all()

    def _deliver(self, batch: list[Item]) -> None:
        try:
            self._send(batch)
        except Refused as error:
            if len(batch) == 1:
                self.refused += 1
                logger.warning("%s: refused: %s", self._name, _first_line(error))
                return
            for item in batch:  # one wrong item must not take the others with it
                self._deliver([item])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
