"""A replica's gRPC server beside its listener: one queue, one log, one count; and a connection that breaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.platform.traffic import Split
from rayloop.serve.batching import Batching
from rayloop.serve.capture import Capture
from rayloop.serve.edge import Traffic
from rayloop.serve.grpc.messages import SERVICE, message

SIGNATURE = Signature((ColumnSpec("x", "FP32"),), (ColumnSpec("y", "FP32"),))
HEAD = (
    ("x-rayloop-secret", "only-the-edge-knows"),
    ("x-rayloop-endpoint", "m"),
    ("x-rayloop-version", "1"),
    ("x-rayloop-variant", "split"),
    ("x-request-id", "mine"),
)
BODY = message(
    "ModelInferRequest",
    model_name="m",
    inputs=[{"name": "x", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [2]}}],
).SerializeToString()

NO_SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # HTTP/2's frame that must come first: the edge sends no request before it


def same(columns: Columns) -> Columns:
    return {"y": columns["x"]}


def ask(target: str, head: tuple[tuple[str, str], ...] = HEAD, **options: Any) -> Any:
    with grpc.insecure_channel(target) as channel:
        answer = channel.unary_unary(f"/{SERVICE}/ModelInfer")(BODY, timeout=10, metadata=head, **options)
    return type(message("ModelInferResponse")).FromString(answer)


def test_what_is_asked_is_captured_and_counted(replica_of: Callable[..., Any], tmp_path: Path) -> None:
    capture = Capture("m", 1, SIGNATURE, str(tmp_path))
    replica = replica_of("m", 1, SIGNATURE, same, capture=capture)
    assert list(ask(replica.grpc.address).outputs[0].contents.fp32_contents) == [2.0]
    assert replica.service.statistics.success.count == 1
    capture.close()
    (row,) = [row for file in tmp_path.rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert (row["request_id"], row["variant"]) == ("mine", "split")


def test_a_full_queue_and_a_model_that_fails_have_codes_of_their_own(replica_of: Callable[..., Any]) -> None:
    is_asked, may_answer, has_failed = threading.Event(), threading.Event(), threading.Event()

    def slow(columns: Columns) -> Columns:
        is_asked.set()
        assert may_answer.wait(20)
        raise OSError("disk")

    replica = replica_of("m", 1, SIGNATURE, slow, batching=Batching(1, 0.01, 1))
    codes: list[Any] = []

    def one() -> None:
        with pytest.raises(grpc.RpcError) as raised:
            ask(replica.grpc.address)
        codes.append((raised.value.code(), raised.value.details()))
        has_failed.set()

    threads = [threading.Thread(target=one)]
    threads[0].start()
    assert is_asked.wait(10)  # the model is busy; one more may wait, and the third is refused
    threads += [threading.Thread(target=one) for _ in range(2)]
    for thread in threads[1:]:
        thread.start()
    assert has_failed.wait(10)
    may_answer.set()
    for thread in threads:
        thread.join(20)
    assert codes[0][0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "its bound max_queue = 1 is reached" in codes[0][1]
    assert codes[1:] == [(grpc.StatusCode.INTERNAL, "the model failed: OSError")] * 2


def test_a_request_is_copied_to_a_shadow_as_v2_over_http(replica_of: Callable[..., Any]) -> None:
    offered: list[Any] = []

    class Mirror:
        def offer(self, *given: Any) -> None:
            offered.append(given)

        def close(self) -> None:
            pass

    replica = replica_of("m", 1, SIGNATURE, same, mirror=Mirror())
    ask(replica.grpc.address, (*HEAD, ("x-rayloop-shadow", "4"), ("content-encoding", "gzip")))
    ((path, headers, body, _, shadows),) = offered
    assert (path, shadows) == ("/v2/models/m/infer", "4")
    assert "content-encoding" not in headers
    length = int(headers["inference-header-content-length"])
    assert np.frombuffer(body[length:], np.float32).tolist() == [2.0]


class Breaker:
    """Listens like a replica, and breaks each connection off once a request has come."""

    def __init__(self) -> None:
        self.asked = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):  # a health check sends nothing, and breaks off itself
                connection.settimeout(5)
                connection.sendall(NO_SETTINGS)
                received = b""
                while chunk := connection.recv(65_536):
                    received += chunk
                    if BODY in received:
                        self.asked += 1
                        break

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)


def test_a_connection_that_breaks_costs_no_answer(grpc_front: Any, replica_of: Callable[..., Any]) -> None:
    breaker, replica = Breaker(), replica_of("m", 1, SIGNATURE, same)
    addresses = [breaker.address, replica.grpc.address]
    try:
        grpc_front.edge.step(
            Traffic(
                (Split.parse("m", ["1=100"], revision=3),),
                {"m": (1,)},
                replicas={"m--v1": [replica.address]},
                grpc_replicas={"m--v1": addresses},
            )
        )
        for _ in range(30):
            answer = ask(f"127.0.0.1:{grpc_front.grpc_port}", ())
            assert list(answer.outputs[0].contents.fp32_contents) == [2.0]
    finally:
        grpc_front.let_in(Traffic().access)
        breaker.close()
    assert breaker.asked


def test_where_no_replica_speaks_grpc(grpc_front: Any) -> None:
    grpc_front.edge.step(Traffic((Split.parse("m", ["1=100"], revision=3),), {"m": (1,)}))
    try:
        with pytest.raises(grpc.RpcError) as raised:
            ask(f"127.0.0.1:{grpc_front.grpc_port}", ())
    finally:
        grpc_front.let_in(Traffic().access)
    found = raised.value.code(), raised.value.details()
    assert found == (grpc.StatusCode.UNAVAILABLE, "no replica of this version answers gRPC")
