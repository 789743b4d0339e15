"""Owns which waiting requests are answered together, and where that is done; it knows no protocol.

Nothing waits for company: a request that finds the model idle starts at once. Those that come while it is busy
wait, and all of them, up to a bound of rows, are its next call. While the model is quick, batches run on the event
loop that reads the requests, its lane, since a change of threads costs more than a small model; while it is not,
they run on a thread, so that the loop stays free.
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
from ..platform.model.matrix import Matrix
from ..platform.model.signature import Columns
from .pace import Pace
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
    """How long the first request of a batch waits for others, although the model is idle."""
    max_queue: int = 256
    """Most requests that wait; the next is refused."""
    request_timeout_s: float = 30.0
    """Longest time from a request's arrival to its answer; the model's call itself is not stopped."""

    def __post_init__(self) -> None:
        """Raises InvalidInput for a bound out of range."""
        for name in ("max_batch_rows", "max_queue"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.batch_wait_s <= 10:
            raise InvalidInput(f"batch_wait_s is {self.batch_wait_s}; it must lie in 0..10")
        if not 0 < self.request_timeout_s <= threading.TIMEOUT_MAX:
            raise InvalidInput(f"request_timeout_s is {self.request_timeout_s}; it must be above 0")


class Overloaded(Unavailable):
    """A bound was reached; `knob` is the setting's name."""

    def __init__(self, knob: str, bound: float) -> None:
        super().__init__(knob, bound)
        self.knob, self.bound = knob, bound

    def __str__(self) -> str:
        return f"this replica is overloaded: its bound {self.knob} = {self.bound:g} is reached; try again later"


class Job(Protocol[R_co]):
    """One request, as the batcher sees it; both methods run where the batch runs."""

    def read(self) -> Request:
        """Decode; what this raises is the job's own and reaches no other."""
        ...

    def reply(self, outputs: Columns | Exception) -> R_co:
        """Turn the model's answer, or what went wrong, into a reply; never raises."""
        ...


class Entry(Generic[R]):
    """One job that waits; `deliver` is called once, on `loop`, unless `drop` came first."""

    __slots__ = ("arrived_ns", "deliver", "is_settled", "job", "loop", "request")

    def __init__(self, job: Job[R], deliver: Callable[[R | Exception], None], loop: asyncio.AbstractEventLoop) -> None:
        self.job, self.deliver, self.loop = job, deliver, loop
        self.arrived_ns = time.perf_counter_ns()
        self.request: Request | None = None
        self.is_settled = False

    def drop(self) -> None:
        """Forget the reply: nobody waits for it."""
        self.is_settled = True

    def settle(self, reply: R | Exception) -> None:
        """Deliver, on the entry's loop, unless that was done."""
        if not self.is_settled:
            self.is_settled = True
            self.deliver(reply)


class Batcher(Generic[R]):
    """Runs jobs one batch at a time, joined where they wait together."""

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
        self._pace = Pace()
        self._changed = threading.Condition()
        self._waiting: deque[Entry[R]] = deque()
        self._held: Entry[R] | None = None
        self._running: Sequence[Entry[R]] = ()
        self._is_active = self._is_due = self._is_closed = self._is_swept = False
        self._lane: asyncio.AbstractEventLoop | None = None
        self._lane_thread = 0
        self._thread: threading.Thread | None = None

    @property
    def ongoing(self) -> int:
        """Requests that wait or are being answered."""
        return len(self._waiting) + len(self._running) + (self._held is not None)

    def use_lane(self) -> None:
        """Let quick batches run on the event loop that calls this."""
        self._lane, self._lane_thread = asyncio.get_running_loop(), threading.get_ident()

    def submit(
        self, job: Job[R], deliver: Callable[[R | Exception], None], loop: asyncio.AbstractEventLoop
    ) -> Entry[R]:
        """Queue a job; called on `loop`. Raises Overloaded where the queue is full, Unavailable once closed."""
        entry = Entry(job, deliver, loop)
        with self._changed:
            if self._is_closed:
                raise Unavailable("this replica is shutting down")
            if len(self._waiting) >= self._settings.max_queue:
                raise Overloaded("max_queue", self._settings.max_queue)
            self._waiting.append(entry)
            was_active, self._is_active = self._is_active, True
            was_swept, self._is_swept = self._is_swept, True
            if was_active and self._settings.batch_wait_s:
                self._changed.notify_all()
        if not was_swept:
            loop.call_later(self._settings.request_timeout_s, self._sweep, loop)
        if not was_active:
            self._pass_on()
        return entry

    async def run(self, job: Job[R]) -> R:
        """Give the job's reply; raises as `submit` does, and Overloaded where the reply takes too long."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()

        def deliver(reply: R | Exception) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        entry = self.submit(job, deliver, loop)
        try:
            return await future
        finally:
            entry.drop()

    def close(self) -> None:
        """End the batch that runs, refuse what waits, and stop the thread; blocks."""
        with self._changed:
            self._is_closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        _settle([(entry, Unavailable("this replica is shutting down")) for entry in left], None)
        with self._changed:
            if self._lane is None or self._lane.is_running():
                self._changed.wait_for(lambda: not self._is_active)
            self._is_active = False  # what a lane that has stopped was to run is never run
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _pass_on(self) -> None:
        """Have the next batch run: on the lane while the model is quick, else on the thread."""
        lane = self._lane
        if lane is not None and self._pace.is_quick and not self._settings.batch_wait_s:
            if self._here is lane:
                lane.call_soon(self._run_batch)
                return
            try:
                lane.call_soon_threadsafe(self._run_batch)
            except RuntimeError:  # the lane is closed; the thread serves on
                self._lane = None
            else:
                return
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._is_due = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_due or (self._is_closed and not self._is_active))
                if not self._is_due:
                    return
                self._is_due = False
            self._run_batch()

    def _run_batch(self) -> None:
        """Answer one batch, and have the next one run if more wait."""
        began_ns = time.perf_counter_ns()
        if batch := self._gather():
            self._running = batch
            replies = self._answer(batch)
            self._pace.saw(time.perf_counter_ns() - began_ns)
            self._running = ()
            _settle(replies, self._here)
            # Else the last answers stay in memory until the next request comes.
            del batch, replies
        with self._changed:
            if not self._waiting and self._held is None:
                self._is_active = False
                if self._is_closed:
                    self._changed.notify_all()
                return
        self._pass_on()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse what has taken too long, though the model may never come back; runs on an event loop."""
        timeout_s = self._settings.request_timeout_s
        now_ns = time.perf_counter_ns()
        oldest_ns = now_ns - int(timeout_s * 1e9)
        with self._changed:
            under_way = [*self._running, *([self._held] if self._held else []), *self._waiting]
            late = [entry for entry in under_way if entry.arrived_ns <= oldest_ns and not entry.is_settled]
            while self._waiting and self._waiting[0].arrived_ns <= oldest_ns:
                self._waiting.popleft()
            left = [entry.arrived_ns for entry in under_way if entry.arrived_ns > oldest_ns]
            self._is_swept = bool(left)
        if left:
            loop.call_later((min(left) - oldest_ns) / 1e9, self._sweep, loop)
        _settle([(entry, Overloaded("request_timeout_s", timeout_s)) for entry in late], None)

    def _gather(self) -> list[Entry[R]]:
        """Read the oldest job and those behind it while they fit; empty where all of them are gone."""
        most = self._settings.max_batch_rows
        batch: list[Entry[R]] = []
        rows, params = 0, None
        until_s = time.monotonic() + self._settings.batch_wait_s if self._settings.batch_wait_s else None
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
        return batch

    def _next(self, until_s: float | None) -> Entry[R] | None:
        """Take the oldest; with `until_s` wait for one until then."""
        with self._changed:
            if not self._waiting and until_s is not None:
                self._changed.wait_for(lambda: self._waiting or self._is_closed, max(0.0, until_s - time.monotonic()))
            return self._waiting.popleft() if self._waiting else None

    def _read(self, entry: Entry[R]) -> Request | None:
        """Decode one job; one that fails is answered here, and one whose client is gone is dropped."""
        if entry.is_settled:
            return None
        start_ns = time.perf_counter_ns()
        try:
            entry.request = entry.job.read()
        except Exception as error:
            _settle([(entry, entry.job.reply(error))], self._here)
            self._statistics.fail.add(time.perf_counter_ns() - entry.arrived_ns)
            return None
        self._statistics.queue.add(start_ns - entry.arrived_ns)
        self._statistics.compute_input.add(time.perf_counter_ns() - start_ns)
        return entry.request

    def _answer(self, batch: Sequence[Entry[R]]) -> list[tuple[Entry[R], R]]:
        """Call the model once for all; where that fails, once for each."""
        requests = [entry.request for entry in batch if entry.request is not None]
        outputs = self._ask(requests)
        if isinstance(outputs, Exception) and len(batch) > 1:
            return [
                (entry, self._write(entry, self._ask([request])))
                for entry, request in zip(batch, requests, strict=True)
            ]
        start_ns = time.perf_counter_ns()
        replies: list[tuple[Entry[R], R]] = []
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
        running = asyncio._get_running_loop()
        start_ns = infer_ns = time.perf_counter_ns()
        try:
            columns = requests[0].columns if len(requests) == 1 else joined(requests)
            infer_ns = time.perf_counter_ns()
            params = requests[0].params
            # A model that runs an event loop of its own may do so on the lane too.
            asyncio._set_running_loop(None)
            return self._predict(columns, rows) if params is None else self._predict(columns, rows, params)
        except Exception as error:
            return error
        finally:
            asyncio._set_running_loop(running)
            end_ns = time.perf_counter_ns()
            self._statistics.add_execution(rows, len(requests), infer_ns - start_ns, end_ns - infer_ns)

    def _write(self, entry: Entry[R], outputs: Columns | Exception) -> R:
        start_ns = time.perf_counter_ns()
        reply = entry.job.reply(outputs)
        end_ns = time.perf_counter_ns()
        if isinstance(outputs, Exception) or entry.request is None:
            self._statistics.fail.add(end_ns - entry.arrived_ns)
        else:
            self._statistics.compute_output.add(end_ns - start_ns)
            self._statistics.add_success(end_ns - entry.arrived_ns, entry.request.rows)
        return reply

    @property
    def _here(self) -> asyncio.AbstractEventLoop | None:
        """The lane, where this is called on it."""
        return self._lane if threading.get_ident() == self._lane_thread else None


def joined(requests: Sequence[Request]) -> Columns:
    """Lay the rows of the requests below each other, column by column."""
    matrices = [request.columns for request in requests if isinstance(request.columns, Matrix)]
    if len(matrices) == len(requests):  # one concatenation for all columns
        return Matrix(matrices[0].places, np.concatenate([matrix.values_NF for matrix in matrices]))
    return {name: np.concatenate([request.columns[name] for request in requests]) for name in requests[0].columns}


def _settle(replies: Sequence[tuple[Entry[R], R | Exception]], here: asyncio.AbstractEventLoop | None) -> None:
    """Hand replies to their waiters: those of the loop `here` now, those of another in one turn of it."""
    elsewhere: dict[asyncio.AbstractEventLoop, list[tuple[Entry[R], R | Exception]]] = {}
    for entry, reply in replies:
        if entry.loop is here:
            entry.settle(reply)
        else:
            elsewhere.setdefault(entry.loop, []).append((entry, reply))
    for loop, theirs in elsewhere.items():
        try:
            loop.call_soon_threadsafe(_settle, theirs, loop)
        except RuntimeError:  # the loop is closed, and its waiters with it
            continue
