"""Owns tensors as raw bytes: little-endian, row-major, without padding; it knows no request and no HTTP.

Numbers are read in place. An element of BYTES is its length in 4 bytes and then its UTF-8 text.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from ...platform.errors import InvalidInput
from ...platform.model.signature import NUMPY_DTYPE, Signature
from .tensor import WIRE_DTYPE, Array, show

LENGTH_HEADER = "inference-header-content-length"
SIZE_PARAMETER = "binary_data_size"

_LENGTH_BYTES = 4
_WHOLE = re.compile(r"[0-9]{1,18}")


class Tail:
    """The raw tensors behind a request's JSON, taken in their order."""

    __slots__ = ("_bytes", "_start")

    def __init__(self, content: memoryview) -> None:
        self._bytes, self._start = content, 0

    def take(self, size: object, where: str) -> memoryview:
        """Give the next `size` bytes."""
        if type(size) is not int or size < 0:
            raise InvalidInput(f"{where}: parameter {SIZE_PARAMETER!r} is {show(size)}; it must be a whole number")
        left = len(self._bytes) - self._start
        if size > left:
            raise InvalidInput(f"{where}: parameter {SIZE_PARAMETER!r} is {show(size)}, but only {left} bytes are left")
        self._start += size
        return self._bytes[self._start - size : self._start]

    def check_all_taken(self) -> None:
        """Raise InvalidInput where bytes are left that no tensor asked for."""
        left = len(self._bytes) - self._start
        if left:
            raise InvalidInput(f"{left} bytes follow the last tensor; the sizes of all must add up to the body")


def split_body(body: bytes | bytearray, length: str | None) -> tuple[memoryview, Tail | None]:
    """Part a body into its JSON and its raw tensors, by the value of the length header; no header: all is JSON."""
    content = memoryview(body)
    if length is None:
        return content, None
    if not _WHOLE.fullmatch(length.strip()):
        raise InvalidInput(f"header {LENGTH_HEADER!r} is {show(length)}; it must be a whole number")
    num_json = int(length)
    if num_json > len(body):
        raise InvalidInput(f"header {LENGTH_HEADER!r} is {num_json}, but the body has only {len(body)} bytes")
    return content[:num_json], Tail(content[num_json:])


def read_binary(content: memoryview, num_values: int, datatype: str, where: str) -> Array:
    """Read a tensor's elements; numbers stay where they are in memory, and may lie there unaligned."""
    dtype = WIRE_DTYPE[datatype]
    if dtype.kind == "O":
        return _read_texts(content, num_values, where)
    wanted = num_values * dtype.itemsize
    if len(content) != wanted:
        raise InvalidInput(f"{where}: it has {len(content)} bytes, but its shape in {datatype} needs {wanted}")
    if dtype.kind == "b":
        octets = np.frombuffer(content, np.uint8)
        if (octets > 1).any():
            raise InvalidInput(f"{where}: a byte is {octets.max()}, but BOOL takes 0 and 1")
        return octets.view(np.bool_)
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False)


def raw_shape(content: memoryview, signature: Signature) -> tuple[str, str, tuple[int, ...]]:
    """Tell the name, the type and the shape of a body that is nothing but one tensor.

    It is the model's only column, or rows of all its columns where they are numbers of one type.
    """
    columns = signature.inputs
    first = columns[0]
    if len(columns) > 1 and not signature.has_one_type:
        raise InvalidInput("a body of one raw tensor needs a model of one input, or one whose inputs are of one type")
    if first.datatype == "BYTES":
        return first.name, "BYTES", (1,)
    width = first.width if len(columns) == 1 else len(columns)
    row_bytes = width * NUMPY_DTYPE[first.datatype].itemsize
    if not content or len(content) % row_bytes:
        raise InvalidInput(f"the raw tensor has {len(content)} bytes; it must be rows of {row_bytes} bytes")
    rows = len(content) // row_bytes
    return first.name, first.datatype, (rows,) if width == 1 else (rows, width)


def write_binary(values: Array) -> bytes:
    """Write elements as raw bytes; those of an object array are text."""
    if values.dtype.kind != "O":
        return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    parts: list[bytes] = []
    for text in values.reshape(-1).tolist():
        encoded = text.encode("utf-8", "replace")
        parts += (struct.pack("<I", len(encoded)), encoded)
    return b"".join(parts)


def _read_texts(content: memoryview, num_values: int, where: str) -> Array:
    if num_values * _LENGTH_BYTES > len(content):  # checked first, as a shape may say any number
        raise InvalidInput(f"{where}: it has {len(content)} bytes, too few for {show(num_values)} elements of BYTES")
    texts: Array = np.empty(num_values, dtype=object)
    start = 0
    for index in range(num_values):
        head = content[start : start + _LENGTH_BYTES]
        length = int.from_bytes(head, "little")
        end = start + _LENGTH_BYTES + length
        if len(head) < _LENGTH_BYTES or end > len(content):
            raise InvalidInput(f"{where}: element {index} reaches beyond the {len(content)} bytes of the tensor")
        texts[index] = read_text(content[start + _LENGTH_BYTES : end], f"{where}: element {index}")
        start = end
    if start != len(content):
        raise InvalidInput(f"{where}: {len(content) - start} bytes follow its {num_values} elements")
    return texts


def read_text(content: memoryview, where: str) -> str:
    """Read UTF-8."""
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{where} is not UTF-8, and BYTES holds text here") from None
