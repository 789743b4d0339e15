"""Owns how an answer leaves a replica: head and body in one write; of HTTP it knows only how a head looks.

uvicorn writes the head of an answer as it gets it, and the body after it: two system calls, under uvloop too.
A process killed between the two leaves a cut answer, which no proxy can replay, while one killed before the
first byte leaves a request that a proxy may send again. ASGI has no message that holds both, so the head is
held back here, in front of the socket, until the body follows or the event loop comes round.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_START, _HEAD_END = b"HTTP/1.", b"\r\n\r\n"


class OneWriteTransport:
    """A transport that holds what looks like a head until the next write, the close, or the loop turns."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Send `data` behind a head that is held, or hold it back if it is itself a head."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_HEAD_START) and data.endswith(_HEAD_END):
            self._held = data
            self._loop.call_soon(self._release)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, with the head of each answer held for its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the holding transport between uvicorn and the socket."""
        super().connection_made(cast("asyncio.Transport", OneWriteTransport(transport, self.loop)))


def install() -> None:
    """Make this protocol the one that uvicorn picks by itself in this process.

    Ray Serve builds its replicas' servers itself and leaves the choice to uvicorn, but only after the
    replica's constructor ran; so a replica calls this in its constructor.
    """
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{OneWriteProtocol.__name__}"
