"""Owns the way from gRPC's tensors to V2's binary ones and back; it knows no model and no server.

A call becomes the very body that V2 over HTTP would have: a head in JSON, raw tensors behind it. So all that is
behind the codec is the same for both: checks, batches, capture, statistics, copies to shadows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from google.protobuf.message import DecodeError

from ...platform.errors import InvalidInput
from ..protocol.binary import SIZE_PARAMETER, write_binary
from ..protocol.tensor import WIRE_DTYPE, Array, show
from .messages import ModelInferRequest, ModelInferResponse

# The field of `contents` that holds each type. FP16 has none: it comes raw, or not at all.
CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_HELD_AS = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}
# What a client says of HTTP's body is not true of the one that is made here.
_OURS = frozenset({"binary_data", "binary_data_output", SIZE_PARAMETER})
_LENGTH_BYTES = 4


def read_request(content: bytes) -> Any:
    """Read a message; raises InvalidInput where it is none."""
    try:
        return ModelInferRequest.FromString(content)
    except DecodeError:
        raise InvalidInput("the message is no inference.ModelInferRequest") from None


def to_body(request: Any) -> tuple[bytearray, int]:
    """Give a V2 body that asks the same, and the length of its JSON; raises InvalidInput where tensors have no data."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            f"'raw_input_contents' has {len(raw)} entries and 'inputs' {len(request.inputs)}; there must be as many"
        )
    if raw and any(tensor.HasField("contents") for tensor in request.inputs):
        raise InvalidInput("an input has 'contents' beside 'raw_input_contents'; all data must come in one way")
    parts = raw or [_raw(tensor) for tensor in request.inputs]
    head: dict[str, object] = {
        "parameters": {**_parameters(request.parameters), "binary_data_output": True},
        "inputs": [_input(tensor, len(part)) for tensor, part in zip(request.inputs, parts, strict=True)],
    }
    if request.id:
        head["id"] = request.id
    if request.outputs:
        head["outputs"] = [
            {"name": output.name, "parameters": _parameters(output.parameters)} for output in request.outputs
        ]
    written = orjson.dumps(head)
    return bytearray(b"".join([written, *parts])), len(written)


def to_response(content: bytes, header_length: int, *, is_raw: bool) -> bytes:
    """Write V2's binary answer as a message: the data raw, or typed where each of its types has a field."""
    head, start = orjson.loads(content[:header_length]), header_length
    is_raw = is_raw or any(output["datatype"] not in CONTENTS for output in head["outputs"])
    response = ModelInferResponse(model_name=head["model_name"], model_version=head["model_version"], id=head["id"])
    for output in head["outputs"]:
        end = start + output["parameters"][SIZE_PARAMETER]
        data, start = content[start:end], end
        added = response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        if is_raw:
            response.raw_output_contents.append(data)
        else:
            getattr(added.contents, CONTENTS[output["datatype"]]).extend(_values(data, output["datatype"]))
    written: bytes = response.SerializeToString()
    return written


def _input(tensor: Any, num_bytes: int) -> dict[str, object]:
    parameters = {**_parameters(tensor.parameters), SIZE_PARAMETER: num_bytes}
    head = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    return {**head, "parameters": parameters}


def _parameters(given: Mapping[str, Any]) -> dict[str, object]:
    read = {}
    for name, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if name not in _OURS and choice is not None:
            read[name] = getattr(parameter, choice)
    return read


def _raw(tensor: Any) -> bytes:
    """Write the typed values of an input as V2's raw ones."""
    where, datatype = f"input {show(tensor.name)}", tensor.datatype
    if datatype not in WIRE_DTYPE:
        raise InvalidInput(f"{where}: 'datatype' is {show(datatype)}; it must be one of {', '.join(WIRE_DTYPE)}")
    if datatype not in CONTENTS:
        raise InvalidInput(f"{where}: {datatype} has no field of 'contents'; it must come in 'raw_input_contents'")
    wanted = CONTENTS[datatype]
    given = [field.name for field, _ in tensor.contents.ListFields()]
    if given != [wanted]:
        what = f"has {' and '.join(map(repr, given))}" if given else "has no 'contents'"
        raise InvalidInput(f"{where} {what}, but {datatype} takes {wanted!r}")
    values = getattr(tensor.contents, wanted)
    if datatype == "BYTES":
        return b"".join(part for text in values for part in (len(text).to_bytes(_LENGTH_BYTES, "little"), text))
    dtype = WIRE_DTYPE[datatype]
    read: Array = np.array(values, dtype=_HELD_AS.get(wanted, dtype))
    if read.dtype != dtype:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        is_out = (read < low) | (read > high)
        if is_out.any():
            raise InvalidInput(f"{where}: value {read[is_out][0]} does not fit {datatype} ({low} to {high})")
    return write_binary(read.astype(dtype))


def _values(data: bytes, datatype: str) -> list[Any]:
    if datatype != "BYTES":
        values: list[Any] = np.frombuffer(data, WIRE_DTYPE[datatype].newbyteorder("<")).tolist()
        return values
    texts, start = [], 0
    while start < len(data):
        end = start + _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES], "little")
        texts.append(data[start + _LENGTH_BYTES : end])
        start = end
    return texts
