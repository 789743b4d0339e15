"""Owns the one thread that predicts, and which waiting requests it takes together; it knows no protocol.

Nothing waits for company: a request that finds the thread idle starts at once. Those that come while the model
is busy wait, and all of them, up to a bound of rows, are its next call.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..platform.errors import InvalidInput, Unavailable
from ..platform.model.signature import Columns
from .protocol.exchange import Request
from .protocol.statistics import Statistics

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests wait and join."""

    max_batch_rows: int = 256
    """Most rows of a joint call; a longer request runs alone. 1 joins nothing."""
    batch_wait_s: float = 0.0
    """How long the first request of a batch waits for others, although the thread is idle."""
    max_queue_requests: int = 256
    """Most requests that wait; the next is refused."""
    queue_timeout_s: float = 30.0
    """Longest wait of a request before the model has it."""

    def __post_init__(self) -> None:
        """Raises InvalidInput for a bound out of range."""
        for name in ("max_batch_rows", "max_queue_requests"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.batch_wait_s <= 10:
            raise InvalidInput(f"batch_wait_s is {self.batch_wait_s}; it must lie in 0..10")
        if not 0 < self.queue_timeout_s <= threading.TIMEOUT_MAX:
            raise InvalidInput(f"queue_timeout_s is {self.queue_timeout_s}; it must be above 0")


class Overloaded(Unavailable):
    """A bound of the queue was reached; `knob` is the setting's name."""

    def __init__(self, knob: str, bound: float) -> None:
        super().__init__(knob, bound)
        self.knob, self.bound = knob, bound

    def __str__(self) -> str:
        return f"this replica is overloaded: its bound {self.knob} = {self.bound:g} is reached; try again later"


class Job(Protocol[R_co]):
    """One request, as the batcher sees it; both methods run on its thread."""

    def read(self) -> Request:
        """Decode; what this raises is the job's own and reaches no other."""
        ...

    def reply(self, outputs: Columns | Exception) -> R_co:
        """Turn the model's answer, or what went wrong, into a reply; never raises."""
        ...


@dataclass(slots=True, eq=False)
class _Entry(Generic[R]):
    job: Job[R]
    future: asyncio.Future[R]
    loop: asyncio.AbstractEventLoop
    arrived_ns: int
    request: Request | None = None


class Batcher(Generic[R]):
    """Runs jobs on a thread of its own, joined where they wait together."""

    def __init__(
        self,
        predict: Callable[..., Columns],
        settings: Batching,
        statistics: Statistics,
        name: str = "predict",
    ) -> None:
        """`predict` takes columns, their number of rows and params if any; it gives outputs with as many rows."""
        self._predict, self._settings, self._statistics = predict, settings, statistics
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[_Entry[R]] = deque()
        self._held: _Entry[R] | None = None
        self._is_closed = self._is_swept = False
        self._thread: threading.Thread | None = None

    async def run(self, job: Job[R]) -> R:
        """Give the job's reply. Raises Overloaded where a bound of the queue is reached, Unavailable once closed."""
        loop = asyncio.get_running_loop()
        entry = _Entry(job, loop.create_future(), loop, time.perf_counter_ns())
        with self._changed:
            if self._is_closed:
                raise Unavailable("this replica is shutting down")
            if len(self._waiting) >= self._settings.max_queue_requests:
                raise Overloaded("max_queue_requests", self._settings.max_queue_requests)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._waiting.append(entry)
            self._changed.notify()
            is_swept, self._is_swept = self._is_swept, True
        if not is_swept:
            loop.call_later(self._settings.queue_timeout_s, self._sweep, loop)
        reply: R = await entry.future
        return reply

    def close(self) -> None:
        """End the batch that runs, refuse what waits, and stop the thread; blocks."""
        with self._changed:
            self._is_closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for entry in left:
            _settle(entry.loop, [(entry, Unavailable("this replica is shutting down"))])
        if self._thread is not None:
            self._thread.join()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse what has waited too long, though the model may never come back; runs on the event loop."""
        timeout_s = self._settings.queue_timeout_s
        expired: list[_Entry[R]] = []
        with self._changed:
            oldest_ns = time.perf_counter_ns() - int(timeout_s * 1e9)
            while self._waiting and self._waiting[0].arrived_ns <= oldest_ns:
                expired.append(self._waiting.popleft())
            self._is_swept = bool(self._waiting)
            wait_s = (self._waiting[0].arrived_ns - oldest_ns) / 1e9 if self._waiting else 0.0
        if self._is_swept:
            loop.call_later(wait_s, self._sweep, loop)
        for entry in expired:
            _settle(entry.loop, [(entry, Overloaded("queue_timeout_s", timeout_s))])

    def _work(self) -> None:
        while batch := self._gather():
            replies = self._answer(batch)
            for loop in {entry.loop for entry in batch}:
                _settle(loop, [(entry, reply) for entry, reply in replies if entry.loop is loop])
            # Else the last answers stay in memory until the next request comes.
            del batch, replies

    def _gather(self) -> list[_Entry[R]]:
        """Wait for a job, and read it and those behind it while they fit; empty once closed."""
        most = self._settings.max_batch_rows
        batch: list[_Entry[R]] = []
        rows, params = 0, None
        until_s: float | None = None
        while rows < most:
            entry, self._held = self._held or self._next(until_s), None
            if entry is None:
                break
            request = entry.request or self._read(entry)
            if request is None:
                continue
            if batch and (rows + request.rows > most or request.params != params):
                self._held = entry
                break
            batch.append(entry)
            params = request.params
            rows += request.rows
            until_s = time.monotonic() + self._settings.batch_wait_s if until_s is None else until_s
        return batch

    def _next(self, until_s: float | None) -> _Entry[R] | None:
        """Take the oldest; without `until_s` wait for one as long as it takes."""
        with self._changed:
            if not self._waiting and until_s is None:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
            elif not self._waiting and self._settings.batch_wait_s and until_s is not None:
                self._changed.wait_for(lambda: self._waiting or self._is_closed, max(0.0, until_s - time.monotonic()))
            return self._waiting.popleft() if self._waiting else None

    def _read(self, entry: _Entry[R]) -> Request | None:
        """Decode one job; one that fails is answered here, and one whose client is gone is dropped."""
        if entry.future.done():
            return None
        start_ns = time.perf_counter_ns()
        try:
            entry.request = entry.job.read()
        except Exception as error:
            _settle(entry.loop, [(entry, entry.job.reply(error))])
            self._statistics.fail.add(time.perf_counter_ns() - entry.arrived_ns)
            return None
        self._statistics.queue.add(start_ns - entry.arrived_ns)
        self._statistics.compute_input.add(time.perf_counter_ns() - start_ns)
        return entry.request

    def _answer(self, batch: Sequence[_Entry[R]]) -> list[tuple[_Entry[R], R]]:
        """Call the model once for all; where that fails, once for each."""
        requests = [entry.request for entry in batch if entry.request is not None]
        outputs = self._ask(requests)
        if isinstance(outputs, Exception) and len(batch) > 1:
            return [
                (entry, self._write(entry, self._ask([request])))
                for entry, request in zip(batch, requests, strict=True)
            ]
        start_ns = time.perf_counter_ns()
        replies: list[tuple[_Entry[R], R]] = []
        first = 0
        for entry, request in zip(batch, requests, strict=True):
            own = outputs
            if not isinstance(outputs, Exception) and len(batch) > 1:
                own = {name: values[first : first + request.rows] for name, values in outputs.items()}
            replies.append((entry, self._write(entry, own)))
            first += request.rows
        self._statistics.add_writing(first, time.perf_counter_ns() - start_ns)
        return replies

    def _ask(self, requests: Sequence[Request]) -> Columns | Exception:
        """Call the model once for all of them; gives what it raised, if it did."""
        rows = sum(request.rows for request in requests)
        start_ns = infer_ns = time.perf_counter_ns()
        try:
            columns = requests[0].columns if len(requests) == 1 else joined(requests)
            infer_ns = time.perf_counter_ns()
            params = requests[0].params
            return self._predict(columns, rows) if params is None else self._predict(columns, rows, params)
        except Exception as error:
            return error
        finally:
            end_ns = time.perf_counter_ns()
            self._statistics.add_execution(rows, len(requests), infer_ns - start_ns, end_ns - infer_ns)

    def _write(self, entry: _Entry[R], outputs: Columns | Exception) -> R:
        start_ns = time.perf_counter_ns()
        reply = entry.job.reply(outputs)
        end_ns = time.perf_counter_ns()
        if isinstance(outputs, Exception) or entry.request is None:
            self._statistics.fail.add(end_ns - entry.arrived_ns)
        else:
            self._statistics.compute_output.add(end_ns - start_ns)
            self._statistics.add_success(end_ns - entry.arrived_ns, entry.request.rows)
        return reply


def joined(requests: Sequence[Request]) -> Columns:
    """Lay the rows of the requests below each other, column by column."""
    matrices = [request.matrix for request in requests if request.matrix is not None]
    names = requests[0].columns
    if len(matrices) == len(requests):  # one concatenation for all columns
        return dict(zip(names, np.concatenate(matrices, axis=1), strict=True))
    return {name: np.concatenate([request.columns[name] for request in requests]) for name in names}


def _settle(loop: asyncio.AbstractEventLoop, replies: Sequence[tuple[_Entry[R], R | Exception]]) -> None:
    """Hand replies to their waiters, all in one turn of their loop."""
    try:
        loop.call_soon_threadsafe(_set_all, replies)
    except RuntimeError:  # the loop is closed, and its waiters with it
        return


def _set_all(replies: Sequence[tuple[_Entry[R], R | Exception]]) -> None:
    for entry, reply in replies:
        if entry.future.done():
            continue
        if isinstance(reply, Exception):
            entry.future.set_exception(reply)
        else:
            entry.future.set_result(reply)
