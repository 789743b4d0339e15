"""The V2 protocol: known answers, a table of malformed bodies, and a seeded fuzz of mutated ones."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.matrix import Matrix
from rayloop.platform.model.signature import NUMPY_DTYPE, ColumnSpec, Signature
from rayloop.serve.protocol import checked_outputs, decode, encode, metadata

MATRIX = Signature(
    (ColumnSpec("a", "FP32"), ColumnSpec("b", "FP32"), ColumnSpec("c", "FP32")),
    (ColumnSpec("label", "INT64"), ColumnSpec("probability", "FP32", width=2)),
)
MIXED = Signature(
    (ColumnSpec("age", "INT32"), ColumnSpec("height", "FP64"), ColumnSpec("smokes", "BOOL")),
    (ColumnSpec("risk", "FP64"),),
)
TEXT = Signature(
    (ColumnSpec("city", "BYTES"), ColumnSpec("count", "INT64"), ColumnSpec("place", "FP32", width=2)),
    (ColumnSpec("name", "BYTES"),),
)


def tensor(name: Any, shape: Any, datatype: Any, data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


def body(*tensors: Any, **more: Any) -> bytes:
    return orjson.dumps({"inputs": list(tensors), **more})


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6.5], [[1, 2, 3], [4, 5, 6.5]]])
def test_a_matrix_nested_or_flat_is_split_into_columns(data: list[Any]) -> None:
    request = decode(body(tensor("any", [2, 3], "FP32", data), id="7", parameters={"x": 1}), MATRIX)
    assert (request.id, request.rows, request.parameters, request.outputs) == ("7", 2, {"x": 1}, ())
    assert list(request.columns) == ["a", "b", "c"]
    for name, values in {"a": [1, 4], "b": [2, 5], "c": [3, 6.5]}.items():
        assert request.columns[name].dtype == np.float32
        np.testing.assert_array_equal(request.columns[name], values)
    assert isinstance(request.columns, Matrix)  # one array, which a model of numbers takes as it is


@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("datatype", ["INT8", "UINT64", "FP16", "FP64"])
def test_one_tensor_a_column_in_any_order(shape: list[int], datatype: str) -> None:
    nested: list[Any] = [[1], [2]] if len(shape) == 2 else [1, 2]
    tensors = [tensor(name, shape, datatype, data) for name, data in {"c": [1, 2], "a": nested, "b": [3, 4]}.items()]
    columns = decode(body(*tensors), MATRIX).columns
    assert list(columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(columns["a"], [1, 2])
    np.testing.assert_array_equal(columns["b"], [3, 4])
    assert {values.dtype for values in columns.values()} == {np.dtype(np.float32)}
    assert {values.shape for values in columns.values()} == {(2,)}


def test_a_matrix_fills_columns_of_several_types() -> None:
    columns = decode(body(tensor("x", [2, 3], "FP64", [[41, 1.75, 1], [7, None, 0]])), MIXED).columns
    assert [values.dtype for values in columns.values()] == [NUMPY_DTYPE[c.datatype] for c in MIXED.inputs]
    np.testing.assert_array_equal(columns["age"], [41, 7])
    np.testing.assert_array_equal(columns["height"], [1.75, np.nan])
    np.testing.assert_array_equal(columns["smokes"], [True, False])


def test_null_is_nan_whatever_the_declared_type() -> None:
    for datatype, value in [("FP32", 2.0), ("INT16", 2), ("BOOL", True)]:
        columns = decode(body(tensor("x", [1, 3], datatype, [None, value, None])), MATRIX).columns
        np.testing.assert_array_equal(np.isnan([columns[name][0] for name in "abc"]), [True, False, True])


def test_text_becomes_python_str_and_a_wide_column_keeps_its_width() -> None:
    request = decode(
        body(
            tensor("city", [2, 1], "BYTES", [["Köln"], [""]]),
            tensor("count", [2], "UINT32", [2**31, 0]),
            tensor("place", [2, 2], "FP32", [50.9, 6.9, 1, 2]),
        ),
        TEXT,
    )
    assert request.columns["city"].tolist() == ["Köln", ""]
    assert request.columns["count"].tolist() == [2**31, 0]
    np.testing.assert_array_equal(request.columns["place"], np.array([[50.9, 6.9], [1, 2]], dtype=np.float32))


def test_a_lone_tensor_with_the_name_of_the_only_column_is_it_in_every_shape() -> None:
    signature = Signature((ColumnSpec("a", "FP64"),), MIXED.outputs)
    for name, shape in [("a", [2]), ("a", [2, 1]), ("matrix", [2, 1])]:
        np.testing.assert_array_equal(decode(body(tensor(name, shape, "FP64", [1, 2])), signature).columns["a"], [1, 2])


def test_the_largest_numbers_of_each_type_are_read_exactly() -> None:
    signature = Signature((ColumnSpec("i", "INT64"), ColumnSpec("f", "FP32")), ())
    columns = decode(
        body(
            tensor("i", [2], "INT64", [2**63 - 1, -(2**63)]),
            tensor("f", [2], "FP32", [float(np.finfo(np.float32).max), -1e-50]),
        ),
        signature,
    ).columns
    assert columns["i"].tolist() == [2**63 - 1, -(2**63)]
    assert columns["f"].tolist() == [float(np.finfo(np.float32).max), 0.0]


def test_an_answer_is_flat_with_nan_as_null() -> None:
    outputs = {
        "label": np.array([1, 0]),
        "probability": np.array([[0.25, 0.75], [np.nan, 1]], dtype=np.float32).T.copy().T,
    }
    answer = orjson.loads(encode("digits", 7, "r-1", outputs, MATRIX))
    assert answer == {
        "model_name": "digits",
        "model_version": "7",
        "id": "r-1",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 0]},
            {"name": "probability", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, None, 1.0]},
        ],
    }


def test_text_and_booleans_are_answered() -> None:
    signature = Signature((), (ColumnSpec("name", "BYTES"), ColumnSpec("sure", "BOOL")))
    raw = {"name": np.array(["ä", "b"]), "sure": np.array([[True], [False]])}
    answer = orjson.loads(encode("m", 1, "i", checked_outputs(raw, signature, rows=2), signature))
    assert [output["data"] for output in answer["outputs"]] == [["ä", "b"], [True, False]]
    assert answer["outputs"][1]["shape"] == [2]


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"risk": np.zeros(3)},
        {"risk": np.zeros((2, 2))},
        {"risk": np.float64(1)},
        {"risk": np.array(["a", "b"])},
        {"risk": np.array([1j, 2j])},
    ],
)
def test_a_model_that_breaks_its_promise_is_told_so(outputs: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as raised:
        checked_outputs(outputs, MIXED, rows=2)
    assert not isinstance(raised.value, InvalidInput)


def test_outputs_are_widened_but_never_cut() -> None:
    assert checked_outputs({"risk": np.ones(2, np.float32)}, MIXED, 2)["risk"].dtype == np.float64
    with pytest.raises(TypeError):
        checked_outputs({"label": np.array([1.5]), "probability": np.zeros((1, 2))}, MATRIX, 1)
    with pytest.raises(TypeError, match="text"):
        checked_outputs({"name": np.array([None], dtype=object)}, TEXT, 1)


def test_metadata_names_every_column() -> None:
    assert orjson.loads(metadata("digits", [7, 8], TEXT, "rayloop")) == {
        "name": "digits",
        "versions": ["7", "8"],
        "platform": "rayloop",
        "inputs": [
            {"name": "city", "datatype": "BYTES", "shape": [-1]},
            {"name": "count", "datatype": "INT64", "shape": [-1]},
            {"name": "place", "datatype": "FP32", "shape": [-1, 2]},
        ],
        "outputs": [{"name": "name", "datatype": "BYTES", "shape": [-1]}],
    }


def test_wanted_outputs_are_read() -> None:
    row = tensor("x", [1, 3], "FP32", [1, 2, 3])
    assert decode(body(row, outputs=[{"name": "label", "parameters": {}}]), MATRIX).outputs == ("label",)
    assert decode(body(row, outputs=[]), MATRIX).outputs == ()


GOOD = tensor("x", [1, 3], "FP32", [1, 2, 3])
ALIKE = [tensor(name, [1], "FP32", [1]) for name in "abc"]
CITY = tensor("city", [1], "BYTES", ["a"])
COUNT = tensor("count", [1], "INT64", [1])
PLACE = tensor("place", [1, 2], "FP32", [1, 2])


def matrix(**changed: Any) -> bytes:
    return body({**GOOD, **changed})


def without(key: str) -> bytes:
    return body({name: value for name, value in GOOD.items() if name != key})


# What is wrong, the body, the model, and words that the sentence must hold.
MALFORMED: list[tuple[str, bytes, Signature, str]] = [
    ("empty", b"", MATRIX, "not JSON"),
    ("not JSON", b"{", MATRIX, "not JSON"),
    ("binary", b"\x00\xff\xfe", MATRIX, "not JSON"),
    ("not UTF-8", b'{"id": "\xff"}', MATRIX, "not JSON"),
    ("NaN for an input", b'{"inputs": [NaN]}', MATRIX, "holds null"),
    ("Infinity literal", b'{"inputs": [Infinity]}', MATRIX, "not JSON"),
    ("infinite literal", b'{"inputs": [1e999]}', MATRIX, "not JSON"),
    ("lone surrogate", b'{"id": "\\ud800"}', MATRIX, "not JSON"),
    ("trailing bytes", body(GOOD) + b"\x00\x00\x80\x3f", MATRIX, "not JSON"),
    ("nested too deep", b"[" * 100_000 + b"]" * 100_000, MATRIX, "not JSON"),
    ("a list", b"[]", MATRIX, "a list"),
    ("a number", b"1", MATRIX, "1"),
    ("null", b"null", MATRIX, "null"),
    ("no inputs", b"{}", MATRIX, "inputs"),
    ("inputs is an object", b'{"inputs": {}}', MATRIX, "inputs"),
    ("inputs is empty", b'{"inputs": []}', MATRIX, "empty"),
    ("an input is null", b'{"inputs": [null]}', MATRIX, "null"),
    ("id is a number", body(GOOD, id=7), MATRIX, "id"),
    ("parameters is a list", body(GOOD, parameters=[]), MATRIX, "parameters"),
    ("a tensor's parameters are text", body({**GOOD, "parameters": "x"}), MATRIX, "must be an object"),
    ("an output's parameters are a list", body(GOOD, outputs=[{"name": "label", "parameters": []}]), MATRIX, "object"),
    ("outputs is text", body(GOOD, outputs="label"), MATRIX, "outputs"),
    ("outputs has no name", body(GOOD, outputs=[{}]), MATRIX, "name"),
    ("outputs is unknown", body(GOOD, outputs=[{"name": "no"}]), MATRIX, "'no'"),
    ("name is missing", without("name"), MATRIX, "name"),
    ("name is empty", matrix(name=""), MATRIX, "name"),
    ("name is a number", matrix(name=3), MATRIX, "name"),
    ("datatype is missing", without("datatype"), MATRIX, "datatype"),
    ("datatype is unknown", matrix(datatype="FLOAT"), MATRIX, "FLOAT"),
    ("datatype is lower case", matrix(datatype="fp32"), MATRIX, "fp32"),
    ("datatype is BF16", matrix(datatype="BF16"), MATRIX, "BF16"),
    ("datatype is a list", matrix(datatype=["FP32"]), MATRIX, "datatype"),
    ("data is missing", without("data"), MATRIX, "binary"),
    ("data is null", matrix(data=None), MATRIX, "data"),
    ("data is text", matrix(data="1,2,3"), MATRIX, "data"),
    ("data is an object", matrix(data={"0": 1}), MATRIX, "data"),
    ("data is empty", matrix(data=[]), MATRIX, "0 values"),
    ("data is short", matrix(data=[1, 2]), MATRIX, "2 values"),
    ("data is long", matrix(data=[1, 2, 3, 4]), MATRIX, "4 values"),
    ("too few rows", matrix(shape=[2, 3], data=[[1, 2, 3]]), MATRIX, "1 rows"),
    ("ragged", matrix(shape=[2, 3], data=[[1, 2, 3], [1, 2]]), MATRIX, "2 values"),
    ("mixed nesting", matrix(shape=[3, 3], data=[[1, 2, 3], 4, 5]), MATRIX, "nested"),
    ("nested deeper than its shape", matrix(data=[[[1], [2], [3]]]), MATRIX, "a list"),
    ("deep below the limit", matrix(data=[]).replace(b"[]", b"[" * 900 + b"]" * 900), MATRIX, "data"),
    ("shape is missing", without("shape"), MATRIX, "shape"),
    ("shape is a number", matrix(shape=3), MATRIX, "shape"),
    ("shape is empty", matrix(shape=[]), MATRIX, "0 sizes"),
    ("shape has three sizes", matrix(shape=[1, 1, 3]), MATRIX, "3 sizes"),
    ("shape is negative", matrix(shape=[-1, 3]), MATRIX, "-1"),
    ("shape is zero", matrix(shape=[0, 3], data=[]), MATRIX, "0"),
    ("shape is a fraction", matrix(shape=[1.0, 3]), MATRIX, "1.0"),
    ("shape is true", matrix(shape=[True, 3]), MATRIX, "true"),
    ("shape is text", matrix(shape=["1", 3]), MATRIX, "'1'"),
    ("shape is huge", matrix(shape=[2**62, 3]), MATRIX, str(2**62)),
    ("shape overflows 64 bits", matrix(shape=[2**63, 2**63]), MATRIX, str(2**63)),
    (
        "shape is beyond 64 bits",
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1e30,3],"data":[]}]}',
        MATRIX,
        "1e+30",
    ),
    ("wrong width", matrix(shape=[1, 2], data=[1, 2]), MATRIX, "'a', 'b', 'c'"),
    ("unknown name in one dimension", matrix(shape=[3]), MATRIX, "'x'"),
    ("text in numbers", matrix(data=[1, "2", 3]), MATRIX, "'2'"),
    ("true in numbers", matrix(data=[1, True, 3]), MATRIX, "true"),
    ("an object in numbers", matrix(data=[1, {}, 3]), MATRIX, "an object"),
    ("a fraction in INT32", matrix(datatype="INT32", data=[1, 2.5, 3]), MATRIX, "2.5"),
    ("a number in BOOL", matrix(datatype="BOOL", data=[True, 1, False]), MATRIX, "BOOL"),
    ("BYTES for numbers", matrix(datatype="BYTES", data=["1", "2", "3"]), MATRIX, "text"),
    ("over INT8", matrix(datatype="INT8", data=[1, 2, 128]), MATRIX, "128"),
    ("under UINT8", matrix(datatype="UINT8", data=[1, 2, -1]), MATRIX, "-1"),
    ("over INT64", matrix(datatype="INT64", data=[1, 2, 2**63]), MATRIX, str(2**63)),
    ("over INT8 beside a null", matrix(datatype="INT8", data=[None, 2, 128]), MATRIX, "128"),
    ("over FP32", matrix(data=[1, 2, 1e39]), MATRIX, "1e+39"),
    ("over FP16", matrix(datatype="FP16", data=[1, 2, 70_000]), MATRIX, "70000"),
    ("FP64 over an FP32 column", matrix(datatype="FP64", data=[1, 2, -1e300]), MATRIX, "-1e+300"),
    ("a fraction for INT32", body(tensor("x", [1, 3], "FP64", [1.5, 1, 1])), MIXED, "'age'"),
    ("null for INT32", body(tensor("x", [1, 3], "FP64", [None, 1, 1])), MIXED, "null"),
    ("INT64 over an INT32 column", body(tensor("x", [1, 3], "INT64", [2**31, 1, 1])), MIXED, "'age'"),
    ("FP64 over an INT32 column", body(tensor("x", [1, 3], "FP64", [2.0**31, 1, 1])), MIXED, "'age'"),
    ("2 for BOOL", body(tensor("x", [1, 3], "FP64", [1, 1, 2])), MIXED, "'smokes'"),
    ("over FP32 in one of three alike", body(*ALIKE[:2], {**ALIKE[2], "data": [1e39]}), MATRIX, "'c'"),
    ("too wide in all of three alike", body(*({**t, "shape": [1, 2]} for t in ALIKE)), MATRIX, "'a'"),
    ("missing column", body(CITY, COUNT), TEXT, "'place'"),
    ("extra column", body(CITY, COUNT, PLACE, tensor("more", [1], "FP32", [1])), TEXT, "'more'"),
    ("duplicate column", body(CITY, COUNT, PLACE, CITY), TEXT, "'city'"),
    ("misspelt column", body(CITY, COUNT, {**PLACE, "name": "plaice"}), TEXT, "'plaice'"),
    ("a matrix for text", body(tensor("x", [1, 3], "FP32", [1, 2, 3])), TEXT, "'city'"),
    ("unequal rows", body(CITY, {**COUNT, "shape": [2], "data": [1, 2]}, PLACE), TEXT, "2 rows"),
    ("too narrow", body(CITY, COUNT, {**PLACE, "shape": [1], "data": [1]}), TEXT, "2 values a row"),
    ("too wide", body({**CITY, "shape": [1, 2], "data": ["a", "b"]}, COUNT, PLACE), TEXT, "1 values a row"),
    ("a number in text", body({**CITY, "data": [1]}, COUNT, PLACE), TEXT, "1"),
    ("null in text", body({**CITY, "data": [None]}, COUNT, PLACE), TEXT, "null"),
    ("numbers for text", body({**CITY, "datatype": "INT8", "data": [1]}, COUNT, PLACE), TEXT, "BYTES"),
    ("null in INT64", body(CITY, {**COUNT, "data": [None]}, PLACE), TEXT, "null"),
    (
        "beyond 64 bits",
        body(CITY, COUNT, PLACE).replace(b'"data":[1]', b'"data":[1' + b"0" * 40 + b"]"),
        TEXT,
        "1e+40",
    ),
]


@pytest.mark.parametrize(
    ("content", "signature", "words"), [case[1:] for case in MALFORMED], ids=[c[0] for c in MALFORMED]
)
def test_a_malformed_body_is_refused_with_a_sentence(content: bytes, signature: Signature, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode(content, signature)
    sentence = str(raised.value)
    assert raised.value.status == 400
    assert words in sentence
    assert "\n" not in sentence
    assert len(sentence) < 600


def test_a_sentence_names_few_of_many_columns() -> None:
    wide = Signature(tuple(ColumnSpec(f"c{index}", "BYTES") for index in range(200)), ())
    with pytest.raises(InvalidInput, match=r"'c9' and 190 more") as raised:
        decode(body(tensor("x" * 10_000, [1], "BYTES", ["a"])), wide)
    assert len(str(raised.value)) < 600


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    0.5,
    "",
    "x",
    [],
    [[]],
    {},
    "FP64",
    "BYTES",
    "INT8",
    [1, 3],
    [None],
]


def mutate(value: Any, chance: random.Random) -> Any:
    """Change a JSON value at one place, chosen at random."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: kept for name, kept in value.items() if name != key}
        return {**value, key: mutate(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        index = chance.randrange(len(value))
        changed = [mutate(value[index], chance)] * chance.choice([0, 1, 1, 1, 2])
        return value[:index] + changed + value[index + 1 :]
    return chance.choice(JUNK)


def test_fuzzed_bodies_are_decoded_or_refused() -> None:
    chance = random.Random(20_260_101)
    seeds = [
        (body(GOOD, id="1"), MATRIX),
        (body(tensor("x", [2, 3], "FP64", [[1, 2.5, 1], [4, None, 0]])), MIXED),
        (body(CITY, COUNT, PLACE, outputs=[{"name": "name"}], parameters={"a": 1}), TEXT),
    ]
    num_refused = 0
    for _ in range(3_000):
        content, signature = chance.choice(seeds)
        if chance.random() < 0.2:
            spoilt = bytearray(content)
            for _ in range(chance.randint(1, 4)):
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
            content = bytes(spoilt)
        else:
            value = orjson.loads(content)
            for _ in range(chance.randint(1, 3)):
                value = mutate(value, chance)
            content = orjson.dumps(value)
        try:
            request = decode(content, signature)
        except InvalidInput:
            num_refused += 1
        else:
            for column in signature.inputs:
                values = request.columns[column.name]
                assert values.shape == ((request.rows,) if column.width == 1 else (request.rows, column.width))
                assert values.dtype == NUMPY_DTYPE[column.datatype]
    assert 1_500 < num_refused < 3_000


@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_half_precision_fits_whole_numbers(datatype: Any) -> None:
    signature = Signature((ColumnSpec("w", datatype),), (ColumnSpec("y", "FP32"),))
    tensor = {"name": "w", "shape": [2], "datatype": "FP16", "data": [3, -65504]}
    assert decode(body(tensor), signature).columns["w"].tolist() == [3, -65504]
    with pytest.raises(InvalidInput, match="whole numbers"):
        decode(body({**tensor, "data": [0.5, 1]}), signature)
