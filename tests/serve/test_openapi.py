"""The OpenAPI documents: sound by OpenAPI's rules, true of what is answered, and named for a generator."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import orjson
import pytest
from rayloop.platform.model.signature import ColumnSpec, Signature
from rayloop.serve.protocol.bodies import bodies_of
from rayloop.serve.protocol.openapi import edge_document, version_document
from rayloop.serve.protocol.route import routes

MIXED = Signature(
    (ColumnSpec("n", "FP32"), ColumnSpec("t", "BYTES"), ColumnSpec("w", "INT64"), ColumnSpec("v", "FP32", width=2)),
    (ColumnSpec("prediction", "INT64"), ColumnSpec("p", "FP32", width=2)),
)
ALONE = Signature((ColumnSpec("t", "BYTES"),), (ColumnSpec("a", "FP32"), ColumnSpec("b", "FP32")))
REFERENCES = {"openapi.json": edge_document, "a version's": lambda: version_document("m", 3, MIXED)}


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set[str]().union(*map(references, value)) if isinstance(value, list) else set()


def operations(document: Any) -> list[Any]:
    return [op for item in document["paths"].values() for method, op in item.items() if method != "parameters"]


@pytest.mark.parametrize("name", REFERENCES)
def test_a_document_hangs_together(name: str) -> None:
    document = orjson.loads(REFERENCES[name]())
    assert document["openapi"] == "3.1.0"
    for reference in references(document):
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
    names = [operation["operationId"] for operation in operations(document)]
    assert len(names) == len(set(names))
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for operation in operations(document):
        assert "200" in operation["responses"]
        assert {"400", "405", "500"} <= operation["responses"].keys()


def test_a_version_s_document_has_every_route_of_it_and_its_method() -> None:
    paths = orjson.loads(version_document("m", 3, MIXED))["paths"]
    said = {path: next(iter(item)).upper() for path, item in paths.items()}
    assert said == {path: route.method for path, route in routes("m", 3).items() if path != "/ready"}


@pytest.mark.parametrize(
    ("body", "is_sound"),
    [
        ({"instances": [{"n": 1.5, "t": "x", "w": 3, "v": [1, 2]}]}, True),
        ({"instances": [[None, "x", 3.0, [1, 2]]]}, True),
        ({"inputs": {"n": [1], "t": ["x"], "w": [True], "v": [[1, 2]]}}, True),
        ({"instances": [{"n": 1.5, "t": "x", "w": 3.5, "v": [1, 2]}]}, False),
        ({"instances": [{"n": 1e39, "t": "x", "w": 3, "v": [1, 2]}]}, False),
        ({"instances": [{"n": 1, "t": "x", "w": 2**63, "v": [1, 2]}]}, False),
        ({"instances": [{"n": 1, "t": "x", "w": None, "v": [1, 2]}]}, False),
        ({"instances": [{"n": 1, "t": "x", "w": 1, "v": [1]}]}, False),
        ({"instances": [{"n": 1, "t": "x", "w": 1}]}, False),
        ({"instances": [{"n": 1, "t": "x", "w": 1, "v": [1, 2], "more": 1}]}, False),
        ({"instances": []}, False),
        ({"instances": [[1, "x", 1, [1, 2]]], "inputs": {}}, False),
        ({}, False),
    ],
)
def test_a_schema_knows_the_columns(body: Any, is_sound: bool) -> None:
    validator = jsonschema.Draft202012Validator(bodies_of(MIXED).predict)
    assert validator.is_valid(body) is is_sound


def test_the_only_column_may_come_bare_and_under_any_name() -> None:
    bodies = bodies_of(ALONE)
    assert jsonschema.Draft202012Validator(bodies.predict).is_valid({"instances": ["x", "y"]})
    tensor = {"name": "input-0", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}
    assert jsonschema.Draft202012Validator(bodies.infer).is_valid({"inputs": [tensor]})


@pytest.mark.parametrize("model", ["m", "table", "words", "page"])
def test_the_examples_are_answered_as_the_document_says(front: Any, model: str) -> None:
    document = httpx.get(f"{front.url}/v2/models/{model}/openapi.json").json()
    schemas = document["components"]["schemas"]
    asked = [(path, item["post"]) for path, item in document["paths"].items() if "post" in item]
    assert len(asked) == 5
    for path, operation in asked:
        content = operation["requestBody"]["content"]["application/json"]["schema"]
        for example in schemas[content["$ref"].rpartition("/")[2]]["examples"]:
            answer = httpx.post(front.url + path, json=example)
            assert answer.status_code == 200, answer.text
            said = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            jsonschema.validate(answer.json(), schemas[said], jsonschema.Draft202012Validator)
