"""Owns the Open Inference Protocol V2, in JSON and with binary tensors; it knows no HTTP server and no model.

Unknown keys and parameters are let pass, as clients add their own. How tensors become columns: see `inputs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from ...platform.errors import InvalidInput
from ...platform.model.signature import Columns, ColumnSpec, Signature
from .binary import LENGTH_HEADER, SIZE_PARAMETER, raw_shape, split_body, write_binary
from .document import read_json
from .exchange import Answer, Buffer, Request
from .inputs import Tensor, read_tensors, shown_names, to_columns
from .tensor import Array, show

_BINARY_TYPE = "application/octet-stream"


class V2:
    """The codec of the infer route of one version."""

    def __init__(self, endpoint: str, version: int, signature: Signature) -> None:
        self._endpoint, self._version, self._signature = endpoint, version, signature

    def decode(self, body: Buffer, headers: Mapping[str, str]) -> Request:
        """Read JSON, JSON with raw tensors behind it, or one raw tensor, as the length header says."""
        return decode(body, self._signature, headers.get(LENGTH_HEADER))

    def encode(self, request: Request, outputs: Columns, request_id: str) -> Answer:
        """Write the wanted outputs; one that is wanted in binary makes the answer binary."""
        signature = self._signature
        if request.outputs:
            wanted = tuple(column for column in signature.outputs if column.name in request.outputs)
            signature = replace(signature, outputs=wanted)
        answer = (self._endpoint, self._version, request.id or request_id, outputs, signature)
        return encode_binary(*answer, request.binary) if request.binary else Answer(encode(*answer))

    def refuse(self, status: int, sentence: str) -> bytes:  # noqa: ARG002
        """Write the protocol's error."""
        return orjson.dumps({"error": sentence})


def decode(body: Buffer, signature: Signature, header_length: str | None = None) -> Request:
    """Read the body of an infer request; raises InvalidInput, and nothing else, where it breaks a rule.

    `header_length` is the value of the header that says how many bytes of JSON come before raw tensors.
    """
    content, tail = split_body(body, header_length)
    if tail is not None and not content:
        return _decode_raw(memoryview(body), signature)
    try:
        document = read_json(content)
    except orjson.JSONDecodeError as error:
        what = "the body" if tail is None else "what comes before the binary tensors"
        raise InvalidInput(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"the body is {show(document)}; it must be an object with the key 'inputs'")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"key 'id' is {show(request_id)}; it must be text")
    parameters = document.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidInput(f"key 'parameters' is {show(parameters)}; it must be an object")
    parameters = parameters or {}
    wanted, binary = _wanted_outputs(document.get("outputs"), parameters, signature)
    tensors = read_tensors(document.get("inputs"), tail)
    return Request(request_id, to_columns(tensors, signature), tensors[0].shape[0], parameters, wanted, binary)


def _decode_raw(content: memoryview, signature: Signature) -> Request:
    name, datatype, shape = raw_shape(content, signature)
    if datatype == "BYTES":
        content = memoryview(len(content).to_bytes(4, "little") + content)
    columns = to_columns([Tensor(name, shape, datatype, content, "the raw tensor")], signature)
    binary = frozenset(column.name for column in signature.outputs)
    return Request(None, columns, shape[0], {}, (), binary)


def encode(model: str, version: int, request_id: str, outputs: Columns, signature: Signature) -> bytes:
    """Write the answer of an infer request: each output of the signature, flat and row-major; NaN is null.

    `outputs` are as `checked_outputs` gives them.
    """
    written = [_written(column, outputs[column.name]) for column in signature.outputs]
    return _document(model, version, request_id, written)


def encode_binary(
    model: str, version: int, request_id: str, outputs: Columns, signature: Signature, binary: frozenset[str]
) -> Answer:
    """Write the answer with the outputs named in `binary` as raw bytes behind the JSON."""
    entries: list[dict[str, object]] = []
    raw: list[bytes] = []
    for column in signature.outputs:
        values = outputs[column.name]
        if column.name not in binary:
            entries.append(_written(column, values))
            continue
        raw.append(write_binary(values))
        head = {"name": column.name, "shape": values.shape, "datatype": column.datatype}
        entries.append({**head, "parameters": {SIZE_PARAMETER: len(raw[-1])}})
    content = _document(model, version, request_id, entries)
    return Answer(b"".join([content, *raw]), _BINARY_TYPE, len(content)) if raw else Answer(content)


def metadata(model: str, versions: Sequence[int], signature: Signature, platform: str) -> bytes:
    """Write what a model takes and gives; -1 stands for any number of rows."""
    return orjson.dumps(
        {
            "name": model,
            "versions": [str(version) for version in versions],
            "platform": platform,
            "inputs": [_described(column) for column in signature.inputs],
            "outputs": [_described(column) for column in signature.outputs],
        }
    )


def _described(column: ColumnSpec) -> dict[str, object]:
    shape = [-1] if column.width == 1 else [-1, column.width]
    return {"name": column.name, "datatype": column.datatype, "shape": shape}


def _document(model: str, version: int, request_id: str, outputs: list[dict[str, object]]) -> bytes:
    answer = {"model_name": model, "model_version": str(version), "id": request_id, "outputs": outputs}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _written(column: ColumnSpec, values: Array) -> dict[str, object]:
    # orjson takes no array of Python objects, and no strided one.
    data = values.reshape(-1).tolist() if values.dtype.kind == "O" else np.ascontiguousarray(values).reshape(-1)
    return {"name": column.name, "shape": values.shape, "datatype": column.datatype, "data": data}


def _wanted_outputs(
    entries: object, parameters: Mapping[str, Any], signature: Signature
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Tell which outputs are wanted (none: all), and which of those in binary."""
    is_binary = _flag(parameters, "binary_data_output", default=False)
    if entries is None:
        return (), frozenset(column.name for column in signature.outputs) if is_binary else frozenset()
    if not isinstance(entries, list):
        raise InvalidInput(f"key 'outputs' is {show(entries)}; it must be a list")
    known = [column.name for column in signature.outputs]
    binary: set[str] = set(known) if is_binary and not entries else set()
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidInput(f"key 'outputs' holds {show(entry)}; each entry must be an object with a 'name'")
        if entry["name"] not in known:
            raise InvalidInput(f"output {show(entry['name'])} is unknown; the model gives {shown_names(known)}")
        own = entry.get("parameters")
        if not isinstance(own, dict | None):
            raise InvalidInput(f"output {show(entry['name'])}: key 'parameters' is {show(own)}; it must be an object")
        own = own or {}
        if own.get("classification"):
            raise InvalidInput(f"output {show(entry['name'])}: parameter 'classification' is not offered here")
        if _flag(own, "binary_data", default=is_binary):
            binary.add(entry["name"])
    return tuple(entry["name"] for entry in entries), frozenset(binary)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"parameter {name!r} is {show(value)}; it must be true or false")
    return value
