"""A real HAProxy in front of a small HTTP server that plays Serve's proxy and tells what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from rayloop.serve.edge import Edge, EdgeSettings

SECRET = "test-secret-0123456789"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Backend:
    """Answers every request with its path, headers and body size; `?sleep_s=` delays, `?status=` chooses the answer."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.seen: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Backend:
        self._run(self._listen())
        return self

    def stop(self) -> None:
        self._run(self._close())

    def end(self) -> None:
        self.stop()
        self._run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            self._server = None

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await self._body(reader, headers)
        self.seen.append(path)
        if "drop=1" in path and self.seen.count(path) == 1:
            return False
        if "sleep_s=" in path:
            await asyncio.sleep(float(path.partition("sleep_s=")[2]))
        answer = json.dumps({"method": method, "path": path, "headers": headers, "body_bytes": len(body)})
        leak = f"x-rayloop-secret: {SECRET}\r\nx-rayloop-version: 999"
        status = path.partition("status=")[2] or "200"
        writer.write(
            f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\n{leak}\r\n"
            f"content-length: {len(answer)}\r\n\r\n{answer}".encode()
        )
        await writer.drain()
        return True

    async def _body(self, reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await reader.readexactly(int(headers.get("content-length", 0)))
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One keep-alive connection to an edge."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] = {}, body: Any = None) -> Answer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # an early answer is an answer
            self._connection.request(method, path, body=body, headers=dict(headers))
        response = self._connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def close(self) -> None:
        self._connection.close()


@dataclass
class Stage:
    """A folder, a backend, and the edges and clients made for one test."""

    folder: Path
    backend: Backend
    clients: list[Client]

    def settings(self, **changes: Any) -> EdgeSettings:
        given: dict[str, Any] = {
            "admin_socket": self.folder / "admin.sock",
            "map_folder": self.folder / "maps",
            "secret": SECRET,
            "bind_port": free_port(),
            "backend_address": self.backend.address,
            "max_body_bytes": 64 * 1024,
            "threads": 1,
            "drain_timeout_s": 2.0,
        }
        return EdgeSettings(**(given | changes))

    def edge(self, settings: EdgeSettings | None = None) -> tuple[Edge, EdgeSettings]:
        settings = settings or self.settings()
        return Edge(settings, self.folder / "edge"), settings

    def client(self, settings: EdgeSettings) -> Client:
        return self.client_of(settings.bind_port)

    def client_of(self, port: int) -> Client:
        self.clients.append(Client(port))
        return self.clients[-1]

    def haproxies(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            is_ours = str(self.folder) in " ".join(process.info["cmdline"] or [])
            if is_ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def kill(self, pid: int) -> None:
        psutil.Process(pid).kill()
        eventually(lambda: pid not in [process.pid for process in self.haproxies()])

    def end(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.haproxies():
            process.kill()
        eventually(lambda: not self.haproxies())
        self.backend.end()


def eventually(is_true: Callable[[], Any], timeout_s: float = 8.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "it did not become true in time"
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, Backend().start(), [])
    yield made
    made.end()


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("edge with a space"), Backend().start(), [])
    yield made
    made.end()
