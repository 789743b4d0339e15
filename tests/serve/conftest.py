"""The front that a client meets: a real edge before real versions, on real sockets, made once for all."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from rayloop.cluster.ports import free_port
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.platform.traffic import OPEN, Access, Split, app_name
from rayloop.serve.application import VersionApplication
from rayloop.serve.edge import Edge, EdgeSettings, Traffic
from rayloop.serve.grpc import GrpcServer
from rayloop.serve.listener import Listener
from rayloop.serve.protocol.one_write import OneWriteProtocol
from rayloop.serve.service import VersionService

SECRET = "only-the-edge-knows"
TOKEN = "rl_a-token-of-the-tests"
MAX_BODY_BYTES = 1024 * 1024
DEADLINE_S = 20.0

MIXED = Signature(
    (
        ColumnSpec("number", "FP32"),
        ColumnSpec("text", "BYTES"),
        ColumnSpec("whole", "INT64"),
        ColumnSpec("flag", "BOOL"),
    ),
    (ColumnSpec("double", "FP64"), ColumnSpec("shout", "BYTES"), ColumnSpec("is_big", "BOOL")),
)
TABLE = Signature(
    tuple(ColumnSpec(name, "FP32") for name in "abc"),
    (ColumnSpec("prediction", "INT64"), ColumnSpec("p", "FP32", width=2)),
)
PAGE = Signature((ColumnSpec("a", "FP32"), ColumnSpec("b", "FP32")), (ColumnSpec("prediction", "FP32"),))
WORDS = Signature((ColumnSpec("text", "BYTES"),), (ColumnSpec("length", "INT64"), ColumnSpec("text_again", "BYTES")))


@dataclass(frozen=True)
class Predictor:
    """A signature and the function that answers for it."""

    signature: Signature
    predict: Callable[[Columns], Columns]


def mixed(columns: Columns) -> Columns:
    shout = np.array([text.upper() for text in columns["text"].tolist()], dtype=object)
    is_big = (columns["whole"] > 9) | columns["flag"]
    return {"double": columns["number"].astype(np.float64) * 2.0, "shout": shout, "is_big": is_big}


def table(columns: Columns) -> Columns:
    total = np.nan_to_num(columns["a"] + columns["b"] + columns["c"])
    share = np.clip(total, 0, 1)
    return {"prediction": (total > 1).astype(np.int64), "p": np.stack([1 - share, share], axis=1)}


def words(columns: Columns) -> Columns:
    return {"length": np.array([len(text) for text in columns["text"]]), "text_again": columns["text"]}


def pair(columns: Columns) -> Columns:
    return {"prediction": columns["a"] + columns["b"]}


MODELS: Mapping[str, tuple[Predictor, tuple[int, ...]]] = {
    "m": (Predictor(MIXED, mixed), (1, 2)),
    "table": (Predictor(TABLE, table), (1,)),
    "page": (Predictor(PAGE, pair), (1, 3)),  # of docs/protocols.md
    "words": (Predictor(WORDS, words), (1,)),
}


class Applications:
    """Plays Serve's proxy: hands a request to the version that its path names."""

    def __init__(self) -> None:
        self.by_prefix = {
            f"/__v/{app_name(name, version)}": VersionApplication(
                VersionService(name, version, predictor, SECRET, max_body_bytes=MAX_BODY_BYTES)
            )
            for name, (predictor, versions) in MODELS.items()
            for version in versions
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            for prefix, application in self.by_prefix.items():
                if scope["path"].startswith(prefix + "/"):
                    await application(scope, receive, send)

    def close(self) -> None:
        for application in self.by_prefix.values():
            application.close()


class Replica:
    """One replica as the edge meets it: a listener, a gRPC server, and the version behind both."""

    def __init__(self, name: str, version: int, predictor: Predictor, **options: Any) -> None:
        self.service = VersionService(name, version, predictor, SECRET, max_body_bytes=MAX_BODY_BYTES, **options)
        bound = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{bound.getsockname()[1]}"
        self.listener = Listener(self.service, bound)
        self.grpc = GrpcServer("127.0.0.1", MAX_BODY_BYTES)
        self.grpc.begin(self.service, self.listener.loop)

    def close(self) -> None:
        self.grpc.close(0.2)
        self.listener.close()
        self.service.close()


@dataclass
class Front:
    """Where a client finds the edge, and who is let in."""

    port: int
    edge: Edge
    grpc_port: int = 0
    replicas: Mapping[str, Sequence[Replica]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def let_in(self, access: Access) -> None:
        splits = tuple(Split.parse(name, ["1=100"], revision=1) for name in MODELS)
        versions = {name: numbers for name, (_, numbers) in MODELS.items()}
        self.edge.step(
            Traffic(
                splits,
                versions,
                access,
                aliases={"also": "m"},
                replicas={app: [replica.address for replica in here] for app, here in self.replicas.items()},
                grpc_replicas={app: [replica.grpc.address for replica in here] for app, here in self.replicas.items()},
            )
        )

    @contextmanager
    def closed(self) -> Iterator[str]:
        """Let in who has a token, and nobody else; gives the token."""
        self.let_in(Access(is_open=False, grants={hashlib.sha256(TOKEN.encode()).hexdigest(): "inference|tests"}))
        try:
            yield TOKEN
        finally:
            self.let_in(OPEN)


@contextmanager
def listening(application: Any, server_socket: socket.socket) -> Iterator[None]:
    """Run uvicorn in a thread, as a replica does."""
    config = uvicorn.Config(application, log_level="critical", ws="none", lifespan="off", http=OneWriteProtocol)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [server_socket]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
    assert not thread.is_alive()


def wait_until(is_true: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline_s, "it did not become true in time"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """An open edge before the models above, all traffic to version 1; `also` is an alias of `m`."""
    folder: Path = tmp_path_factory.mktemp("front")
    applications = Applications()
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server_socket, listening(applications, server_socket):
        settings = EdgeSettings(
            admin_socket=folder / "admin.sock",
            map_folder=folder / "maps",
            secret=SECRET,
            bind_port=port,
            backend_address=f"127.0.0.1:{server_socket.getsockname()[1]}",
            max_body_bytes=MAX_BODY_BYTES,
            threads=1,
            drain_timeout_s=2.0,
        )
        made = Front(port, Edge(settings, folder / "edge"))
        made.let_in(OPEN)
        try:
            wait_until(lambda: httpx.get(f"{made.url}/v2/health/ready").status_code == 200)
            yield made
        finally:
            made.edge.stop()
            applications.close()


@pytest.fixture
def replica_of() -> Iterator[Callable[..., Replica]]:
    """Makes replicas with options of their own, and ends them."""
    made: list[Replica] = []

    def make(name: str, version: int, *arguments: Any, **options: Any) -> Replica:
        made.append(Replica(name, version, Predictor(*arguments), **options))
        return made[-1]

    yield make
    for replica in made:
        replica.close()


@pytest.fixture(scope="session")
def grpc_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """An edge that speaks gRPC too, before replicas of the models above."""
    folder: Path = tmp_path_factory.mktemp("grpc")
    port, grpc_port = free_port(), free_port()
    replicas = {
        app_name(name, version): [Replica(name, version, predictor)]
        for name, (predictor, versions) in MODELS.items()
        for version in versions
    }
    settings = EdgeSettings(
        admin_socket=folder / "admin.sock",
        map_folder=folder / "maps",
        secret=SECRET,
        bind_port=port,
        grpc_port=grpc_port,
        backend_address=f"127.0.0.1:{free_port()}",  # nobody plays Serve's proxy
        max_body_bytes=MAX_BODY_BYTES,
        threads=1,
        drain_timeout_s=2.0,
    )
    made = Front(port, Edge(settings, folder / "edge"), grpc_port, replicas)
    made.let_in(OPEN)
    try:
        wait_until(lambda: httpx.get(f"{made.url}/v2/models/m/ready").status_code == 200)
        yield made
    finally:
        made.edge.stop()
        for here in replicas.values():
            for replica in here:
                replica.close()
