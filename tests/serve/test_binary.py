"""Binary tensors and compressed bodies on the infer route: known answers, memory in place, and what is refused."""

from __future__ import annotations

import asyncio
import gzip
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication
from rayloop.serve.protocol import decode, encode_binary
from rayloop.serve.protocol.compression import decompressed
from rayloop.serve.service import VersionService

SECRET = "only-the-edge-knows"
MATRIX = Signature(
    (ColumnSpec("a", "FP32"), ColumnSpec("b", "FP32")),
    (ColumnSpec("sum", "FP32"), ColumnSpec("name", "BYTES"), ColumnSpec("parts", "FP32", width=2)),
)
EVERY = Signature(
    (
        ColumnSpec("flag", "BOOL"),
        ColumnSpec("i32", "INT32"),
        ColumnSpec("i64", "INT64"),
        ColumnSpec("f32", "FP32"),
        ColumnSpec("f64", "FP64"),
        ColumnSpec("text", "BYTES"),
        ColumnSpec("wide", "FP32", width=2),
    ),
    (ColumnSpec("out", "FP64"),),
)
ONE_TEXT = Signature((ColumnSpec("text", "BYTES"),), (ColumnSpec("length", "INT64"),))


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def raw(name: Any, shape: Any, datatype: Any, size: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


def packed(inputs: list[Any], tail: bytes, **more: Any) -> tuple[bytes, str]:
    """A body and the value of its length header."""
    head = orjson.dumps({"inputs": inputs, **more})
    return head + tail, str(len(head))


ROWS = np.array([[1, 2], [3, 4]], np.float32)
GOOD = packed([raw("x", [2, 2], "FP32", 16)], ROWS.tobytes())


class Predictor:
    signature = MATRIX

    def predict(self, columns: Columns) -> Columns:
        parts = np.stack([columns["a"], columns["b"]], axis=1)
        return {"sum": parts.sum(axis=1), "name": [f"é{value:.0f}" for value in parts[:, 0]], "parts": parts}


def post(body: bytes, max_body_bytes: int = 10_000, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Call the infer route once; names of headers come with "_" for "-"."""
    application = VersionApplication(VersionService("m", 1, Predictor(), SECRET, max_body_bytes=max_body_bytes))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"x-rayloop-secret": SECRET, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {"type": "http", "method": "POST", "path": "/v2/models/m/infer"}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    asyncio.run(application({**scope, "headers": pairs}, receive, send))
    application.close()
    return (
        sent[0]["status"],
        {name.decode(): value.decode() for name, value in sent[0]["headers"]},
        sent[1]["body"],
    )


def unpack(headers: dict[str, str], body: bytes) -> tuple[dict[str, Any], bytes]:
    length = int(headers["inference-header-content-length"])
    assert headers["content-type"] == "application/octet-stream"
    return orjson.loads(body[:length]), body[length:]


def test_every_type_is_read_from_bytes() -> None:
    columns = {
        "flag": np.array([True, False]),
        "i32": np.array([-(2**31), 2**31 - 1], np.int32),
        "i64": np.array([-(2**63), 2**63 - 1]),
        "f32": np.array([np.nan, np.inf], np.float32),
        "f64": np.array([1e-300, -0.5]),
        "wide": np.array([[1, 2], [3, 4]], np.float32),
    }
    parts = {name: values.tobytes() for name, values in columns.items()} | {"text": texts("Köln".encode(), b"")}
    inputs = [
        raw(spec.name, [2, 2] if spec.width == 2 else [2], spec.datatype, len(parts[spec.name]))
        for spec in reversed(EVERY.inputs)
    ]
    body, length = packed(inputs, b"".join(parts[entry["name"]] for entry in inputs))
    request = decode(body, EVERY, length)
    assert request.rows == 2
    assert request.columns["text"].tolist() == ["Köln", ""]
    for name, values in columns.items():
        assert request.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(request.columns[name], values)


def test_numbers_stay_where_they_are_and_are_writable() -> None:
    content = np.arange(3, dtype=np.float64).tobytes()
    signature = Signature((ColumnSpec("a", "FP64"),), ())
    body, length = packed([raw("a", [3], "FP64", 24)], content)
    buffer = bytearray(body)
    values = decode(buffer, signature, length).columns["a"]
    assert np.shares_memory(values, np.frombuffer(buffer, np.uint8))
    assert values.flags.writeable


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "INT8", "UINT16", "UINT64"])
def test_other_number_types_are_brought_to_the_column(datatype: str) -> None:
    dtype = {"FP16": "f2", "FP64": "f8"}.get(datatype, datatype.lower())
    content = ROWS.astype(dtype).tobytes()
    request = decode(*_with_signature(packed([raw("x", [2, 2], datatype, len(content))], content)))
    np.testing.assert_array_equal(request.columns["b"], [2, 4])
    assert request.columns["b"].dtype == np.float32


def test_an_infinity_that_came_as_one_is_no_overflow() -> None:
    body = packed([raw("x", [1, 2], "FP64", 16)], np.array([np.inf, -np.inf]).tobytes())
    columns = decode(*_with_signature(body)).columns
    assert [columns[name].tolist() for name in "ab"] == [[np.inf], [-np.inf]]


def _with_signature(body: tuple[bytes, str]) -> tuple[bytes, Signature, str]:
    return body[0], MATRIX, body[1]


def test_binary_and_json_inputs_mix_and_data_wins_over_a_size() -> None:
    both = {"name": "b", "shape": [2], "datatype": "FP32", "data": [2, 4], "parameters": {"binary_data_size": 8}}
    body, length = packed([both, raw("a", [2], "FP32", 8)], np.array([1, 3], np.float32).tobytes())
    columns = decode(body, MATRIX, length).columns
    assert (columns["a"].tolist(), columns["b"].tolist()) == ([1, 3], [2, 4])


def test_a_raw_request_is_rows_of_the_columns_and_answered_in_binary() -> None:
    status, headers, body = post(ROWS.tobytes(), inference_header_content_length="0")
    document, tail = unpack(headers, body)
    assert status == 200
    assert [output["parameters"]["binary_data_size"] for output in document["outputs"]] == [8, 14, 16]
    assert tail == np.array([3, 7], np.float32).tobytes() + texts("é1".encode(), "é3".encode()) + ROWS.tobytes()


def test_a_raw_text_is_one_element() -> None:
    assert decode("Köln".encode(), ONE_TEXT, "0").columns["text"].tolist() == ["Köln"]


@pytest.mark.parametrize(
    ("more", "binary"),
    [
        ({"parameters": {"binary_data_output": True}}, ["sum", "name", "parts"]),
        ({"parameters": {"binary_data_output": True}, "outputs": []}, ["sum", "name", "parts"]),
        ({"outputs": [{"name": "sum", "parameters": {"binary_data": True}}, {"name": "parts"}]}, ["sum"]),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "sum", "parameters": {"binary_data": False}}, {"name": "parts"}],
            },
            ["parts"],
        ),
    ],
)
def test_each_output_is_binary_as_asked(more: dict[str, Any], binary: list[str]) -> None:
    rows = [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]
    status, headers, body = post(orjson.dumps({"inputs": rows, **more}))
    document, tail = unpack(headers, body)
    sizes = {o["name"]: o["parameters"]["binary_data_size"] for o in document["outputs"] if "parameters" in o}
    assert status == 200
    assert list(sizes) == binary
    assert sum(sizes.values()) == len(tail)
    assert all(("data" in output) != (output["name"] in binary) for output in document["outputs"])


def test_binary_in_is_json_out_unless_asked() -> None:
    status, headers, body = post(GOOD[0], inference_header_content_length=GOOD[1])
    assert (status, headers["content-type"]) == (200, "application/json")
    assert orjson.loads(body)["outputs"][0]["data"] == [3, 7]


def test_a_strided_output_is_written_row_major() -> None:
    signature = Signature((), (ColumnSpec("p", "FP32", width=2), ColumnSpec("yes", "BOOL")))
    outputs = {"p": np.arange(4, dtype=np.float32).reshape(2, 2).T, "yes": np.array([True, False])}
    answer = encode_binary("m", 1, "i", outputs, signature, frozenset({"p", "yes"}))
    assert answer.body[answer.header_length :] == np.array([0, 2, 1, 3], np.float32).tobytes() + b"\x01\x00"


X = raw("x", [2, 2], "FP32", 16)
TEXT = raw("text", [1], "BYTES", 4)

# What is wrong, the body and the header, the model, and words that the sentence must hold.
MALFORMED: list[tuple[str, tuple[bytes, str], Signature, str]] = [
    ("header is no number", (GOOD[0], "ten"), MATRIX, "ten"),
    ("header is empty", (GOOD[0], ""), MATRIX, "whole number"),
    ("header is negative", (GOOD[0], "-1"), MATRIX, "-1"),
    ("header is a fraction", (GOOD[0], "1.5"), MATRIX, "1.5"),
    ("header is huge", (GOOD[0], "9" * 5_000), MATRIX, "whole number"),
    ("header is in other digits", (GOOD[0], "\u0661"), MATRIX, "whole number"),
    ("header is beyond the body", (GOOD[0], "100000"), MATRIX, "100000"),
    ("header cuts the JSON", (GOOD[0], "5"), MATRIX, "not JSON"),
    ("header reaches into the tensors", (GOOD[0], str(int(GOOD[1]) + 1)), MATRIX, "not JSON"),
    ("no header", (GOOD[0][: int(GOOD[1])], None), MATRIX, "inference-header"),  # type: ignore[list-item]
    ("size is negative", packed([raw("x", [2, 2], "FP32", -1)], b""), MATRIX, "-1"),
    ("size is a fraction", packed([raw("x", [2, 2], "FP32", 16.0)], bytes(16)), MATRIX, "16.0"),
    ("size is true", packed([raw("x", [1, 1], "FP32", True)], b"\x00"), MATRIX, "true"),
    ("size is text", packed([raw("x", [2, 2], "FP32", "16")], bytes(16)), MATRIX, "'16'"),
    ("size is beyond the body", packed([X], bytes(15)), MATRIX, "15 bytes are left"),
    ("size is less than the body", packed([X], bytes(17)), MATRIX, "1 bytes follow"),
    ("size is not the shape's", packed([raw("x", [2, 2], "FP32", 12)], bytes(12)), MATRIX, "needs 16"),
    ("size is not the type's", packed([raw("x", [2, 2], "FP64", 16)], bytes(16)), MATRIX, "needs 32"),
    ("shape is huge", packed([raw("x", [2**62, 2], "FP32", 16)], bytes(16)), MATRIX, "needs"),
    ("neither data nor size", packed([{**X, "parameters": {}}], b""), MATRIX, "missing"),
    ("parameters is a list", packed([{**X, "parameters": []}], b""), MATRIX, "an object"),
    ("a byte of BOOL is 2", packed([raw("x", [1, 2], "BOOL", 2)], b"\x00\x02"), MATRIX, "BOOL"),
    ("BF16", packed([raw("x", [1, 2], "BF16", 4)], bytes(4)), MATRIX, "BF16"),
    ("over FP32", packed([raw("x", [1, 2], "FP64", 16)], np.array([1e300, 0]).tobytes()), MATRIX, "1e+300"),
    ("a length beyond its tensor", packed([TEXT], b"\x01\x00\x00\x00"), ONE_TEXT, "element 0"),
    ("half a length", packed([raw("text", [1], "BYTES", 2)], b"\x00\x00"), ONE_TEXT, "too few"),
    ("too many elements", packed([raw("text", [1], "BYTES", 8)], texts(b"", b"")), ONE_TEXT, "4 bytes follow"),
    ("too few elements", packed([raw("text", [3], "BYTES", 8)], texts(b"", b"")), ONE_TEXT, "too few"),
    ("many elements", packed([raw("text", [2**62], "BYTES", 8)], texts(b"", b"")), ONE_TEXT, "too few"),
    ("not UTF-8", packed([raw("text", [1], "BYTES", 5)], texts(b"\xff")), ONE_TEXT, "UTF-8"),
    ("raw and not UTF-8", (b"\xff", "0"), ONE_TEXT, "UTF-8"),
    ("raw and empty", (b"", "0"), MATRIX, "0 bytes"),
    ("raw and half a row", (bytes(12), "0"), MATRIX, "rows of 8"),
    ("raw for several types", (bytes(12), "0"), EVERY, "one raw tensor"),
    ("binary_data is text", packed([X], bytes(16), outputs=[{"name": "sum", "parameters": {"binary_data": "y"}}]),
     MATRIX, "binary_data"),
    ("binary_data_output is 1", packed([X], bytes(16), parameters={"binary_data_output": 1}), MATRIX, "true or false"),
    ("classification", packed([X], bytes(16), outputs=[{"name": "sum", "parameters": {"classification": 2}}]),
     MATRIX, "classification"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "signature", "words"), [c[1:] for c in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_a_malformed_body_is_refused_with_a_sentence(body: tuple[bytes, str], signature: Signature, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode(body[0], signature, body[1])
    sentence = str(raised.value)
    assert raised.value.status == 400
    assert words in sentence
    assert "\n" not in sentence
    assert len(sentence) < 600


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP ", gzip.compress)]
)
def test_a_compressed_body_is_read_header_length_and_all(coding: str, pack: Any) -> None:
    status, _, body = post(pack(GOOD[0]), content_encoding=coding, inference_header_content_length=GOOD[1])
    assert status == 200
    assert orjson.loads(body)["outputs"][2]["data"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("body", "coding", "status", "words"),
    [
        (b"junk", "gzip", 400, "not gzip"),
        (gzip.compress(GOOD[0])[:-9], "gzip", 400, "too early"),
        (gzip.compress(GOOD[0]) + b"x", "gzip", 400, "1 bytes follow"),
        (gzip.compress(GOOD[0]), "deflate", 400, "not deflate"),
        (b"", "gzip", 400, "too early"),
        (GOOD[0], "br", 415, "br"),
        (gzip.compress(bytes(10_001)), "gzip", 413, "10000 bytes"),
        (zlib.compress(bytes(5_000_000), 9), "deflate", 413, "10000 bytes"),
    ],
)
def test_what_does_not_decompress_is_refused(body: bytes, coding: str, status: int, words: str) -> None:
    given, _, answer = post(body, content_encoding=coding)
    assert given == status
    assert words in orjson.loads(answer)["error"]


def test_a_bomb_is_never_unpacked_beyond_the_bound() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    tracemalloc.start()
    with pytest.raises(InvalidInput):
        decompressed(bomb, "gzip", 10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(("coding", "unpack_body"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_long_answer_is_compressed_where_the_client_asks(coding: str, unpack_body: Any) -> None:
    rows = np.zeros((200, 2), np.float32)
    body, length = packed([raw("x", [200, 2], "FP32", rows.nbytes)], rows.tobytes())
    _, plain_headers, plain = post(body, inference_header_content_length=length)
    _, headers, answer = post(body, inference_header_content_length=length, accept_encoding=coding)
    assert headers["content-encoding"] == coding
    assert int(headers["content-length"]) == len(answer) < len(plain)
    assert len(unpack_body(answer)) == len(plain)
    _, listed, same = post(body, inference_header_content_length=length, accept_encoding="gzip, deflate, br")
    assert "content-encoding" not in plain_headers | listed
    assert len(same) == len(plain)
