"""One kept HTTP/1.1 connection that sends prepared bytes and reads whole answers; it decides nothing about them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from target import Target

T = TypeVar("T")
# What `ask` raises where the connection was refused, or broke before the answer was whole.
BROKEN = (OSError, asyncio.IncompleteReadError)


class Answer(NamedTuple):
    """What matters of an answer; `version` is empty where no version of rayloop gave it."""

    status: int
    version: str


def request_bytes(target: Target) -> bytes:
    """The request as it goes over the wire, made once."""
    parts = urlsplit(target.url)
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(target.body)}"]
    lines += [f"{name}: {value}" for name, value in target.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + target.body


class Connection:
    """Connects when first asked, and again after it broke or the server closed it."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._request = request_bytes(target)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> Answer:
        """Send the request once and read the whole answer. Raises one of BROKEN."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            return await self._exchange(*self._streams)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = _field(head, b"content-length")
        if length:
            await reader.readexactly(int(length))
        elif b"transfer-encoding: chunked" in head:  # Serve's Python proxy, which stands in while no replica is up
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        if b"connection: close" in head:
            self.close()
        return Answer(int(head[9:12]), _field(head, b"x-rayloop-version").decode("latin-1"))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, which leaves more of the processor to the servers beside it."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _field(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b": ")[2].partition(b"\r")[0]
