"""gRPC's tensors become V2's binary ones, and come back, with every type; what can't is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.signature import ColumnSpec, Signature
from rayloop.serve.grpc.messages import MESSAGES, message
from rayloop.serve.grpc.tensors import CONTENTS, read_request, to_body, to_response
from rayloop.serve.protocol.tensor import WIRE_DTYPE
from rayloop.serve.protocol.v2 import decode, encode_binary

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    **{f"INT{bits}": [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": [0, 2**bits - 1] for bits in (8, 16, 32, 64)},
    "FP32": [0.5, float("inf")],
    "FP64": [0.1, -1e300],
    "BYTES": ["köln".encode(), b""],
}


def request(datatype: str, **more: Any) -> Any:
    tensor = {"name": "x", "datatype": datatype, "shape": [2], **more}
    return message("ModelInferRequest", model_name="m", id="mine", inputs=[tensor])


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_values_become_raw_ones(datatype: str) -> None:
    body, header_length = to_body(request(datatype, contents={CONTENTS[datatype]: VALUES[datatype]}))
    head = orjson.loads(bytes(body[:header_length]))
    assert (head["id"], head["inputs"][0]["datatype"], head["inputs"][0]["shape"]) == ("mine", datatype, [2])
    tail = bytes(body[header_length:])
    if datatype == "BYTES":
        assert tail == b"\x05\x00\x00\x00" + "köln".encode() + b"\x00\x00\x00\x00"
    else:
        assert np.frombuffer(tail, WIRE_DTYPE[datatype]).tolist() == VALUES[datatype]


def test_every_type_but_half_precision_has_a_field() -> None:
    assert CONTENTS.keys() == WIRE_DTYPE.keys() - {"FP16"}
    assert set(CONTENTS.values()) == set(MESSAGES["InferTensorContents"])


def test_the_body_is_what_v2_reads() -> None:
    signature = Signature((ColumnSpec("x", "INT64"),), (ColumnSpec("y", "FP32"),))
    asked = request("INT16", contents={"int_contents": [3, -4]})
    asked.outputs.add(name="y").parameters["binary_data"].bool_param = False
    asked.parameters["binary_data_output"].bool_param = False
    asked.parameters["limit"].int64_param = 7
    body, header_length = to_body(read_request(asked.SerializeToString()))
    read = decode(body, signature, str(header_length))
    assert (read.id, read.rows, read.outputs, read.binary) == ("mine", 2, ("y",), {"y"})
    assert read.columns["x"].tolist() == [3, -4]
    assert read.parameters["limit"] == 7


@pytest.mark.parametrize("is_raw", [True, False])
def test_an_answer_comes_back_raw_or_typed(is_raw: bool) -> None:
    names = {"FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_}
    outputs: dict[str, Any] = {name: np.array([0, 1], dtype) for name, dtype in names.items()}
    outputs["BYTES"] = np.array(["köln", ""], dtype=object)
    signature = Signature((ColumnSpec("x", "FP32"),), tuple(ColumnSpec(name, name) for name in outputs))
    answer = encode_binary("m", 3, "mine", outputs, signature, frozenset(outputs))
    assert answer.header_length is not None
    told = type(message("ModelInferResponse")).FromString(to_response(answer.body, answer.header_length, is_raw=is_raw))
    assert (told.model_name, told.model_version, told.id) == ("m", "3", "mine")
    assert [(output.name, list(output.shape)) for output in told.outputs] == [(name, [2]) for name in outputs]
    if is_raw:
        assert told.raw_output_contents[0] == np.array([0, 1], np.float32).tobytes()
        assert not any(output.HasField("contents") for output in told.outputs)
    else:
        found = [list(getattr(output.contents, CONTENTS[output.datatype])) for output in told.outputs]
        assert found == [[0.0, 1.0], [0, 1], [False, True], ["köln".encode(), b""]]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (request("INT8", contents={"int_contents": [1, 300]}), r"value 300 does not fit INT8 \(-128 to 127\)"),
        (request("UINT16", contents={"uint_contents": [1, 70_000]}), "value 70000 does not fit UINT16"),
        (request("FP16", contents={"fp32_contents": [1, 2]}), "FP16 has no field of 'contents'"),
        (request("BF16", contents={"fp32_contents": [1, 2]}), "'datatype' is 'BF16'"),
        (request("FP32", contents={"fp64_contents": [1, 2]}), "has 'fp64_contents', but FP32 takes 'fp32_contents'"),
        (request("FP32"), "has no 'contents', but FP32 takes 'fp32_contents'"),
    ],
)
def test_what_no_tensor_can_be_is_named(asked: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        to_body(asked)


def test_raw_data_comes_for_all_inputs_or_none() -> None:
    asked = request("FP32")
    asked.raw_input_contents.extend([b"12345678", b"12345678"])
    with pytest.raises(InvalidInput, match="has 2 entries and 'inputs' 1"):
        to_body(asked)
    asked = request("FP32", contents={"fp32_contents": [1, 2]})
    asked.raw_input_contents.append(b"12345678")
    with pytest.raises(InvalidInput, match="all data must come in one way"):
        to_body(asked)


def test_what_is_no_message_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"no inference\.ModelInferRequest"):
        read_request(b"\x0a\xff")
