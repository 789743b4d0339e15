"""Owns the codings gzip and deflate of whole bodies; it trusts no length that a client states."""

from __future__ import annotations

import zlib

from ...platform.errors import InvalidInput
from .exchange import Buffer, UnsupportedMedia
from .tensor import show

_GZIP_BITS, _ZLIB_BITS = 31, 15
_LEVEL = 1  # the thread that predicts does it, so the fastest
_BITS = {"gzip": _GZIP_BITS, "x-gzip": _GZIP_BITS, "deflate": _ZLIB_BITS}
MIN_COMPRESSED_BYTES = 512


class BodyTooLarge(InvalidInput):
    """The body is longer than this version reads."""

    status = 413

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.max_bytes = max_bytes

    def __str__(self) -> str:
        return f"the body has more than the {self.max_bytes} bytes that are allowed"


def decompressed(body: Buffer, coding: str | None, max_bytes: int) -> Buffer:
    """Undo a Content-Encoding. Raises BodyTooLarge as soon as the result passes `max_bytes`."""
    coding = (coding or "identity").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding not in _BITS:
        raise UnsupportedMedia(f"header 'content-encoding' is {show(coding)}; it must be gzip or deflate")
    reader = zlib.decompressobj(_BITS[coding])
    try:
        content = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidInput(f"the body is not {coding}: {error}") from None
    if len(content) > max_bytes:
        raise BodyTooLarge(max_bytes)
    if not reader.eof:
        raise InvalidInput(f"the body is not {coding}: it ends too early")
    if reader.unused_data:
        raise InvalidInput(f"the body is not {coding}: {len(reader.unused_data)} bytes follow its end")
    return bytearray(content)  # tensors read in place shall be writable, as torch asks


def asked_coding(accept: str | None) -> str | None:
    """Tell the coding that a client asks for, which is one alone.

    Libraries send a list of all they know with every request, and compressing each small answer costs more
    than it saves; so a list is no wish.
    """
    coding = (accept or "").strip().lower()
    return coding if coding in ("gzip", "deflate") else None


def compressed(body: bytes, coding: str) -> bytes:
    """Apply a coding of `asked_coding`."""
    writer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _BITS[coding])
    return writer.compress(body) + writer.flush()
