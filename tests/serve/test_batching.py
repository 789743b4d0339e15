"""The batcher: who is answered together, in which order, who suffers for whom, and its bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.model.matrix import Matrix
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication
from rayloop.serve.batching import Batcher, Batching, Overloaded, joined
from rayloop.serve.protocol.exchange import Request
from rayloop.serve.protocol.statistics import Statistics
from rayloop.serve.service import VersionService

DEADLINE_S = 20.0


def request(values: list[Any]) -> Request:
    return Request(None, {"x": np.array(values)}, len(values), {})


class Job:
    """Replies the doubled values, or the name of what went wrong."""

    def __init__(self, values: list[Any], error: Exception | None = None) -> None:
        self.values, self.error = values, error

    def read(self) -> Request:
        if self.error is not None:
            raise self.error
        return request(self.values)

    def reply(self, outputs: Columns | Exception) -> Any:
        return type(outputs).__name__ if isinstance(outputs, Exception) else outputs["y"].tolist()


class Model:
    """Doubles; waits inside a call until it is let go, and fails where it meets 666."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.calls: list[list[Any]] = []

    def predict(self, columns: Columns, rows: int) -> Columns:
        values = columns["x"].tolist()
        assert len(values) == rows
        self.calls.append(values)
        self.entered.set()
        assert self.released.wait(DEADLINE_S)
        if 666 in values:
            raise ZeroDivisionError
        return {"y": columns["x"] * 2}


def run(model: Model, scenario: Callable[[Batcher[Any]], Awaitable[Any]], **settings: Any) -> tuple[Any, Statistics]:
    statistics = Statistics()
    batcher: Batcher[Any] = Batcher(model.predict, Batching(**settings), statistics)

    async def with_deadline() -> Any:
        return await asyncio.wait_for(scenario(batcher), DEADLINE_S)

    try:
        return asyncio.run(with_deadline()), statistics
    finally:
        model.released.set()
        batcher.close()


def behind(model: Model, *jobs: Job) -> Callable[[Batcher[Any]], Awaitable[list[Any]]]:
    """Let a first job keep the model busy until all others wait."""

    async def scenario(batcher: Batcher[Any]) -> list[Any]:
        model.released.clear()
        tasks = [asyncio.create_task(batcher.run(Job([0])))]
        await asyncio.to_thread(model.entered.wait, DEADLINE_S)
        tasks += [asyncio.create_task(batcher.run(job)) for job in jobs]
        await asyncio.sleep(0)
        model.released.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return scenario


def test_what_waits_is_one_call_in_order_and_each_gets_its_own() -> None:
    model = Model()
    replies, statistics = run(model, behind(model, Job([1, 2]), Job([3]), Job([4, 5, 6])))
    assert model.calls == [[0], [1, 2, 3, 4, 5, 6]]
    assert replies == [[0], [2, 4], [6], [8, 10, 12]]
    assert (statistics.executions, statistics.inferences, statistics.success.count) == (2, 7, 4)
    assert statistics.compute_infer.count == statistics.queue.count == 4


def test_a_lone_job_waits_for_nobody() -> None:
    model = Model()

    async def scenario(batcher: Batcher[Any]) -> float:
        await batcher.run(Job([1]))
        start_s = time.perf_counter()
        for _ in range(20):
            await batcher.run(Job([1]))
        return time.perf_counter() - start_s

    assert run(model, scenario)[0] < 2.0
    assert model.calls == [[1]] * 21


def test_a_batch_has_a_bound_of_rows_and_a_longer_job_runs_alone() -> None:
    model = Model()
    jobs = [Job([1, 1]), Job([2, 2]), Job([3]), Job([4] * 9), Job([5]), Job([6])]
    replies, _ = run(model, behind(model, *jobs), max_batch_rows=4)
    assert model.calls == [[0], [1, 1, 2, 2], [3], [4] * 9, [5, 6]]
    assert replies[1:] == [[2, 2], [4, 4], [6], [8] * 9, [10], [12]]


def test_one_row_is_no_batching() -> None:
    model = Model()
    run(model, behind(model, Job([1]), Job([2])), max_batch_rows=1)
    assert model.calls == [[0], [1], [2]]


def test_an_undecodable_job_never_joins() -> None:
    model = Model()
    replies, statistics = run(model, behind(model, Job([1]), Job([], InvalidInput("bad")), Job([3])))
    assert model.calls == [[0], [1, 3]]
    assert replies == [[0], [2], "InvalidInput", [6]]
    assert (statistics.success.count, statistics.fail.count) == (3, 1)


def test_a_poisonous_row_fails_alone() -> None:
    model = Model()
    replies, statistics = run(model, behind(model, Job([1]), Job([666]), Job([3])))
    assert model.calls == [[0], [1, 666, 3], [1], [666], [3]]
    assert replies == [[0], [2], "ZeroDivisionError", [6]]
    assert (statistics.success.count, statistics.fail.count, statistics.executions) == (3, 1, 5)


def test_a_full_queue_names_its_bound() -> None:
    model = Model()
    replies, _ = run(model, behind(model, Job([1]), Job([2]), Job([3])), max_queue=2)
    assert replies[:3] == [[0], [2], [4]]
    assert isinstance(replies[3], Overloaded)
    assert (replies[3].status, replies[3].knob) == (503, "max_queue")
    assert "max_queue = 2" in str(replies[3])


def test_a_long_wait_ends_though_the_model_never_returns() -> None:
    model = Model()

    async def scenario(batcher: Batcher[Any]) -> Any:
        model.released.clear()
        first = asyncio.create_task(batcher.run(Job([0])))
        await asyncio.to_thread(model.entered.wait, DEADLINE_S)
        late = await asyncio.gather(first, batcher.run(Job([1])), batcher.run(Job([2])), return_exceptions=True)
        model.released.set()
        return late, await batcher.run(Job([3]))

    (late, after), _ = run(model, scenario, request_timeout_s=0.2)
    assert [str(error).count("request_timeout_s = 0.2") for error in late] == [1, 1, 1]
    assert after == [6]
    assert model.calls == [[0], [3]]


def test_a_wait_for_company_is_a_choice() -> None:
    model = Model()

    async def scenario(batcher: Batcher[Any]) -> Any:
        first = asyncio.create_task(batcher.run(Job([1])))
        await asyncio.sleep(0.05)
        return await asyncio.gather(first, batcher.run(Job([2])))

    assert run(model, scenario, batch_wait_s=5.0, max_batch_rows=2)[0] == [[2], [4]]
    assert model.calls == [[1, 2]]


def test_a_job_whose_client_is_gone_is_dropped() -> None:
    model = Model()

    async def scenario(batcher: Batcher[Any]) -> Any:
        model.released.clear()
        tasks = [asyncio.create_task(batcher.run(Job([value]))) for value in (0, 1)]
        await asyncio.to_thread(model.entered.wait, DEADLINE_S)
        tasks.append(asyncio.create_task(batcher.run(Job([2]))))
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        model.released.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    replies, _ = run(model, scenario, max_batch_rows=1)
    assert isinstance(replies[1], asyncio.CancelledError)
    assert model.calls == [[0], [2]]


def test_closing_ends_what_runs_and_refuses_what_waits() -> None:
    model = Model()

    async def scenario(batcher: Batcher[Any]) -> Any:
        model.released.clear()
        first = asyncio.create_task(batcher.run(Job([0])))
        await asyncio.to_thread(model.entered.wait, DEADLINE_S)
        second = asyncio.create_task(batcher.run(Job([1])))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        replies = await asyncio.gather(second, return_exceptions=True)
        model.released.set()
        await closing
        return replies + await asyncio.gather(first, batcher.run(Job([2])), return_exceptions=True)

    second, first, third = run(model, scenario)[0]
    assert first == [0]
    assert isinstance(second, Unavailable)
    assert isinstance(third, Unavailable)


def test_columns_are_joined_one_by_one_or_as_one_matrix() -> None:
    matrices = [np.array([[0.0, 2.0], [1.0, 3.0]]), np.array([[8.0, 9.0]])]
    whole = [Request(None, Matrix({"a": 0, "b": 1}, m), len(m), {}) for m in matrices]
    parted = [Request(None, dict(r.columns), r.rows, {}) for r in whole]
    for requests in (whole, parted, [whole[0], parted[1]]):
        assert {name: values.tolist() for name, values in joined(requests).items()} == {"a": [0, 1, 8], "b": [2, 3, 9]}
    texts = [Request(None, {"t": np.array(t, dtype=object)}, len(t), {}) for t in (["a"], ["b", "c"])]
    assert joined(texts)["t"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_batch_rows": 0},
        {"max_queue": 0},
        {"batch_wait_s": -1},
        {"batch_wait_s": 60},
        {"request_timeout_s": 0},
    ],
)
def test_bounds_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(settings))):
        Batching(**settings)


class Doubler:
    signature = Signature((ColumnSpec("x", "FP64"),), (ColumnSpec("y", "FP64"),))

    def __init__(self) -> None:
        self.model = Model()

    def predict(self, columns: Columns) -> Columns:
        return self.model.predict(columns, len(columns["x"]))


def test_an_overloaded_version_says_503_with_retry_after() -> None:
    predictor = Doubler()
    application = VersionApplication(VersionService("m", 1, predictor, "s", batching=Batching(max_queue=1)))
    body = orjson.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]})

    async def post(method: str = "POST", path: str = "/v2/models/m/infer") -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [(b"x-rayloop-secret", b"s")]}
        await application(scope, receive, send)
        return sent

    async def scenario() -> list[list[Any]]:
        predictor.model.released.clear()
        first = asyncio.create_task(post())
        await asyncio.to_thread(predictor.model.entered.wait, DEADLINE_S)
        second = asyncio.create_task(post())
        await asyncio.sleep(0)
        refused, ready = await post(), await post("GET", "/ready")  # the model is busy all the while
        predictor.model.released.set()
        return [refused, ready, await first, await second]

    refused, *others = asyncio.run(scenario())
    application.close()
    assert [sent[0]["status"] for sent in others] == [200, 200, 200]
    assert refused[0]["status"] == 503
    assert dict(refused[0]["headers"])[b"retry-after"] == b"1"
    assert "max_queue" in orjson.loads(refused[1]["body"])["error"]
