"""Plain gRPC against a real edge before real replicas: each call, splits, tokens, and what is refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from rayloop.platform.traffic import Split
from rayloop.serve.edge import Traffic
from rayloop.serve.grpc.messages import MESSAGES, SERVICE, message

CODE = grpc.StatusCode
TIMEOUT_S = 10


class Client:
    """A channel, and its calls by name."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target)

    def raw(self, name: str, content: bytes, **options: Any) -> Any:
        return self.channel.unary_unary(f"/{SERVICE}/{name}")(content, timeout=TIMEOUT_S, **options)

    def ask(self, name: str, request: Any = None, **options: Any) -> Any:
        content = (message(f"{name}Request") if request is None else request).SerializeToString()
        return type(message(f"{name}Response")).FromString(self.raw(name, content, **options))


@pytest.fixture
def client(grpc_front: Any) -> Iterator[Client]:
    made = Client(f"127.0.0.1:{grpc_front.grpc_port}")
    yield made
    made.channel.close()


def page(values: list[float], **more: Any) -> Any:
    """One row of two numbers, typed."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": values}}
    return message("ModelInferRequest", **{"model_name": "page", "inputs": [tensor], **more})


def refused(call: Callable[[], Any]) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def test_the_server_lives_and_says_what_it_is(client: Client) -> None:
    assert client.ask("ServerLive").live
    assert client.ask("ServerReady").ready
    assert client.ask("ServerMetadata").name == "rayloop"


def test_a_model_is_ready_and_described(client: Client) -> None:
    assert client.ask("ModelReady", message("ModelReadyRequest", name="m", version="2")).ready
    told = client.ask("ModelMetadata", message("ModelMetadataRequest", name="m"))
    assert (told.name, list(told.versions)) == ("m", ["1"])
    assert [(column.name, column.datatype, list(column.shape)) for column in told.inputs][:2] == [
        ("number", "FP32", [-1]),
        ("text", "BYTES", [-1]),
    ]


def test_typed_in_is_typed_out(client: Client) -> None:
    answer = client.ask("ModelInfer", page([1, 2.5], id="mine"))
    assert (answer.model_name, answer.model_version, answer.id) == ("page", "1", "mine")
    assert list(answer.outputs[0].contents.fp32_contents) == [3.5]
    assert not answer.raw_output_contents


def test_raw_in_is_raw_out(client: Client) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2]}
    raw = np.arange(4, dtype=np.float32).tobytes()
    request = message("ModelInferRequest", model_name="page", inputs=[tensor], raw_input_contents=[raw])
    answer = client.ask("ModelInfer", request)
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [1, 5]
    assert not answer.outputs[0].HasField("contents")


def test_texts(client: Client) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "contents": {"bytes_contents": ["köln".encode(), b""]}}
    answer = client.ask("ModelInfer", message("ModelInferRequest", model_name="words", inputs=[tensor]))
    assert list(answer.outputs[0].contents.int64_contents) == [4, 0]
    assert list(answer.outputs[1].contents.bytes_contents) == ["köln".encode(), b""]


def test_a_body_larger_than_the_edges_buffer(client: Client) -> None:
    rows = 100_000
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2]}
    raw = np.ones((rows, 2), np.float32).tobytes()
    request = message("ModelInferRequest", model_name="page", inputs=[tensor], raw_input_contents=[raw])
    (answer,) = client.ask("ModelInfer", request).raw_output_contents
    assert np.frombuffer(answer, np.float32).sum() == 2 * rows


def test_a_version_is_pinned_by_its_field(client: Client) -> None:
    assert client.ask("ModelInfer", page([1, 2], model_version="3")).model_version == "3"
    assert client.ask("ModelMetadata", message("ModelMetadataRequest", name="page", version="3")).versions == ["3"]


def test_an_alias(client: Client) -> None:
    assert client.ask("ModelMetadata", message("ModelMetadataRequest", name="also")).name == "m"


@pytest.fixture
def halves(grpc_front: Any) -> Iterator[None]:
    """30 % of `page` to version 3."""
    replicas = grpc_front.replicas
    grpc_front.edge.step(
        Traffic(
            (Split.parse("page", ["1=70", "3=30"], revision=2),),
            {"page": (1, 3)},
            replicas={app: [one.address for one in here] for app, here in replicas.items()},
            grpc_replicas={app: [one.grpc.address for one in here] for app, here in replicas.items()},
        )
    )
    yield
    grpc_front.let_in(Traffic().access)


def test_a_split_and_its_sticky_clients(client: Client, halves: None) -> None:
    request = page([1, 2])
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.ask("ModelInfer", request).model_version, range(1_000)))
    assert 230 < Counter(answers)["3"] < 370  # five standard deviations
    by_session = {
        session: {
            client.ask("ModelInfer", request, metadata=[("x-session-id", session)]).model_version for _ in range(5)
        }
        for session in map(str, range(30))
    }
    assert {len(seen) for seen in by_session.values()} == {1}
    assert len(set.union(*by_session.values())) == 2


def test_tokens(client: Client, grpc_front: Any) -> None:
    with grpc_front.closed() as token:
        given = [("authorization", f"Bearer {token}")]
        assert client.ask("ModelInfer", page([1, 2]), metadata=given).outputs
        assert client.ask("ServerMetadata", metadata=given).name == "rayloop"
        assert client.ask("ServerLive").live
        assert refused(lambda: client.ask("ServerMetadata")) == (CODE.UNAUTHENTICATED, "a token is needed")
        wrong = refused(lambda: client.ask("ModelInfer", page([1, 2]), metadata=[("authorization", "Bearer no")]))
    assert wrong == (CODE.UNAUTHENTICATED, "the token is not known, or was revoked")


def test_who_goes_round_the_edge_is_refused(grpc_front: Any) -> None:
    direct = Client(grpc_front.replicas["page--v1"][0].grpc.address)
    for name in MESSAGES:
        if name.endswith("Request"):
            code, says = refused(lambda name=name: direct.ask(name.removesuffix("Request")))
            assert code == CODE.UNAUTHENTICATED
            assert "only the edge" in says
    direct.channel.close()


def test_a_replica_answers_for_no_other(grpc_front: Any) -> None:
    direct = Client(grpc_front.replicas["page--v1"][0].grpc.address)
    meant = [
        ("x-rayloop-secret", "only-the-edge-knows"),
        ("x-rayloop-endpoint", "page"),
        ("x-rayloop-version", "3"),
    ]
    code, says = refused(lambda: direct.ask("ModelInfer", page([1, 2]), metadata=meant))
    assert (code, says) == (CODE.UNAVAILABLE, "here answers version 1 of 'page'; try again")
    direct.channel.close()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"model_name": "nobody"}, 'model "nobody" is not served here'),
        ({"model_name": "niemand %ü"}, 'model "niemand %ü" is not served here'),
        ({}, 'model "" is not served here'),
        ({"model_name": "m", "model_version": "9"}, 'version "9" of model "m" is not served here'),
        ({"model_name": "m", "model_version": "1/../2"}, 'version "1/../2" of model "m" is not served here'),
    ],
)
def test_what_is_not_served(client: Client, request_: dict[str, str], sentence: str) -> None:
    asked = message("ModelInferRequest", **request_)
    assert refused(lambda: client.ask("ModelInfer", asked)) == (CODE.NOT_FOUND, sentence)


@pytest.mark.parametrize(
    "content",
    [
        page([1, 2, 3]).SerializeToString(),
        page([]).SerializeToString(),
        page([1, 2], inputs=[]).SerializeToString(),
        page([1, 2], raw_input_contents=[b"12345678"]).SerializeToString(),
        page([1, 2], outputs=[{"name": "nothing"}]).SerializeToString(),
        b"\x0a\x04page" + b"\x12\x00" + b"\x1a\xff",  # cut off
        b"\x0a\x04page" + b"\x1a\x01\xff",  # an id that is no UTF-8
        b"\x0a\x04page" + b"\x2a\x02\x0a\x09",
    ],
)
def test_a_bad_body_is_the_clients_fault(client: Client, content: bytes) -> None:
    code, says = refused(lambda: client.raw("ModelInfer", content))
    assert code == CODE.INVALID_ARGUMENT
    assert says


def test_what_is_not_spoken(client: Client) -> None:
    assert refused(lambda: client.raw("ModelStreamInfer", b""))[0] == CODE.UNIMPLEMENTED
    packed = refused(lambda: client.ask("ModelInfer", page([1, 2], id="m" * 500), compression=grpc.Compression.Gzip))
    assert packed[0] == CODE.UNIMPLEMENTED
    assert "compressed messages" in packed[1]
    too_long = message("ModelInferRequest", model_name="page", raw_input_contents=[b"x" * 2_000_000])
    code, says = refused(lambda: client.ask("ModelInfer", too_long))
    assert (code, says) == (CODE.RESOURCE_EXHAUSTED, "the message is larger than 1048576 bytes")


def test_http_answers_beside_it(client: Client, grpc_front: Any) -> None:
    import httpx

    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    answer = httpx.post(f"{grpc_front.url}/v2/models/page/infer", json=body).json()
    assert answer["outputs"][0]["data"] == [3.0]
    before = grpc_front.replicas["page--v1"][0].service.statistics.success.count
    client.ask("ModelInfer", page([1, 2]))
    time.sleep(0.05)
    assert grpc_front.replicas["page--v1"][0].service.statistics.success.count == before + 1
