"""Owns the OpenAPI documents of the HTTP surface: the edge's, for any model, and a version's, for its own columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ... import __version__
from ...platform.model.signature import Signature
from .bodies import bodies_of, general_bodies
from .exchange import JSON_TYPE
from .schemas import CONFIGURATION, ERROR, METADATA, STATISTICS, TEXT, Schema, a_list, an_object

TEXT_TYPE, CSV_TYPE, BINARY_TYPE = "text/plain", "text/csv", "application/octet-stream"

Operation = dict[str, Any]

# What each refusal means, and the header that always comes with it.
_REFUSALS: Mapping[str, tuple[str, str | None]] = {
    "400": ("What was asked breaks a rule; the sentence says which.", None),
    "401": ("A token is needed, or it is not known.", "WWW-Authenticate"),
    "404": ("Nothing is served at this path.", None),
    "405": ("Another method is needed.", "Allow"),
    "413": ("The body, or what it unpacks to, is too large.", None),
    "415": ("The media type or the content coding is not read.", None),
    "429": ("Too many requests.", "Retry-After"),
    "500": ("The model or the edge failed.", None),
    "503": ("No replica is up, or the queue is full.", None),
    "5XX": ("The replica gave no valid answer, or none in time.", None),
}
_OPEN = ("400", "405", "500")
_EDGE = (*_OPEN, "401", "429", "503")
_MODEL = (*_EDGE, "404", "413", "5XX")
_INFER = (*_MODEL, "415")

_FLAG: Schema = {"type": "boolean"}
_ENDPOINT = an_object(
    {
        "name": TEXT,
        "endpoint_type": TEXT,
        "model": an_object({"name": TEXT, "provider": TEXT}),
        "endpoint_url": TEXT,
        "limit": {"type": "null"},
    }
)
_ANSWERS: Mapping[str, Schema] = {
    "Metadata": METADATA,
    "Configuration": CONFIGURATION,
    "Statistics": STATISTICS,
    "Ready": an_object({"name": TEXT, "version": TEXT, "ready": _FLAG}, optional=["version"]),
    "Document": an_object({"openapi": TEXT, "paths": {"type": "object"}}),
}
_EDGE_ANSWERS: Mapping[str, Schema] = {
    "Alive": an_object({"status": TEXT}),
    "Health": an_object({"live": _FLAG, "ready": _FLAG}, optional=["ready"]),
    "Server": an_object({"name": TEXT, "version": TEXT, "extensions": a_list(TEXT)}),
    "Models": an_object({"models": a_list(TEXT)}),
    "Index": a_list(an_object({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT})),
    "Endpoint": _ENDPOINT,
    "Endpoints": an_object({"endpoints": a_list({"$ref": "#/components/schemas/Endpoint"})}),
}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "How many bytes of JSON come before raw tensors; 0 for one raw tensor alone.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": 999_999_999}


def edge_document() -> bytes:
    """Write the document of the edge; compact, since it goes through one buffer of HAProxy."""
    bodies = general_bodies()
    parameters = {
        "model": {"name": "model", "in": "path", "required": True, "schema": _NAME},
        "version": {"name": "version", "in": "path", "required": True, "schema": _NUMBER},
    }
    paths = {**_edge_paths(), **_model_paths("{model}", "{version}")}
    for path, item in paths.items():
        named = [{"$ref": f"#/components/parameters/{name}"} for name in parameters if f"{{{name}}}" in path]
        if named:
            item["parameters"] = named
    return _written(
        "rayloop",
        "What the edge answers, for every model behind it.",
        paths,
        {**_EDGE_ANSWERS, **bodies.named()},
        parameters,
    )


def version_document(endpoint: str, version: int, signature: Signature) -> bytes:
    """Write the document of one version, whose schemas name its columns."""
    bodies = bodies_of(signature)
    description = f"What version {version} of {endpoint} answers."
    return _written(endpoint, description, _model_paths(endpoint, str(version)), bodies.named(), {})


def _written(
    title: str,
    description: str,
    paths: Mapping[str, Any],
    answers: Mapping[str, Schema],
    parameters: Mapping[str, Any],
) -> bytes:
    token = {"type": "http", "scheme": "bearer", "description": "Needed once a token was made."}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": __version__, "description": description},
            "servers": [{"url": "/"}],
            "security": [{}, {"token": []}],
            "paths": paths,
            "components": {
                "schemas": {"Error": ERROR, **_ANSWERS, **answers},
                "parameters": {"length": _LENGTH, **parameters},
                "responses": {status: _refusal(status) for status in _REFUSALS},
                "securitySchemes": {"token": token},
            },
        }
    )


def _edge_paths() -> dict[str, Any]:
    """What the edge answers itself."""
    only = {"ready": {"type": "boolean", "description": "Only versions that are ready."}}
    index = {"content": {JSON_TYPE: {"schema": an_object(only, optional=["ready"])}}}
    return {
        "/": {"get": _free(_told("alive", "Liveness, as V1 says it", "Alive", _OPEN))},
        "/v2/health/live": {"get": _free(_told("live", "Liveness", "Health", _OPEN))},
        "/v2/health/ready": {"get": _free(_told("ready", "Readiness", "Health", (*_OPEN, "503")))},
        "/v2": {"get": _told("server", "The server", "Server", _EDGE)},
        "/v2/models": {"get": _told("models", "What is served", "Models", _EDGE)},
        "/v1/models": {"get": _told("models_v1", "What is served", "Models", _EDGE)},
        "/v2/repository/index": {"post": {**_told("index", "All versions", "Index", _EDGE), "requestBody": index}},
        "/openapi.json": {"get": _told("document", "This document", "Document", _EDGE)},
        "/api/2.0/endpoints/": {"get": _told("endpoints", "What is served, as MLflow lists it", "Endpoints", _EDGE)},
        "/api/2.0/endpoints/{model}": {"get": _told("endpoint", "One endpoint", "Endpoint", (*_EDGE, "404"))},
        "/endpoints/{model}/invocations": {"post": _scored("query")},
    }


def _model_paths(model: str, version: str) -> dict[str, Any]:
    """What a version answers; with and without its number, where a protocol has room for it."""
    paths: dict[str, Any] = {}
    for middle, mark in (("", ""), (f"/versions/{version}", "_version")):
        v2, v1 = f"/v2/models/{model}{middle}", f"/v1/models/{model}{middle}"
        paths |= {
            f"{v2}/infer": {"post": _inferred(f"infer{mark}")},
            v2: {"get": _told(f"metadata{mark}", "Inputs and outputs", "Metadata", _MODEL)},
            f"{v2}/ready": {"get": _told(f"model_ready{mark}", "Readiness", "Ready", _MODEL)},
            f"{v2}/stats": {"get": _told(f"statistics{mark}", "Counts of one replica", "Statistics", _MODEL)},
            f"{v2}/config": {"get": _told(f"config{mark}", "Inputs, as Triton has it", "Configuration", _MODEL)},
            f"{v2}/openapi.json": {"get": _told(f"model_document{mark}", "With its columns", "Document", _MODEL)},
            f"{v1}:predict": {"post": _predicted(f"predict{mark}")},
            v1: {"get": _told(f"status{mark}", "Readiness, as V1 says it", "Ready", _MODEL)},
        }
    mlflow = f"/mlflow/{model}"
    paths[f"{mlflow}/invocations"] = {"post": _scored("invocations")}
    for name, what in (("ping", "Health"), ("health", "Health"), ("version", "MLflow's version")):
        paths[f"{mlflow}/{name}"] = {"get": _told(f"mlflow_{name}", what, None, _MODEL)}
    return paths


def _inferred(name: str) -> Operation:
    binary: Schema = {"schema": {"type": "string", "format": "binary"}}
    operation = _asked(name, "Infer by V2", "InferRequest", "InferResponse")
    operation["description"] = "Data must fit its shape, all columns have as many rows, and no column come twice."
    operation["parameters"] = [{"$ref": "#/components/parameters/length"}]
    operation["requestBody"]["content"][BINARY_TYPE] = binary
    operation["responses"]["200"]["content"][BINARY_TYPE] = binary
    return operation


def _predicted(name: str) -> Operation:
    operation = _asked(name, "Predict by V1", "PredictRequest", "PredictResponse")
    return {**operation, "description": "All rows are of one form, and all columns have as many."}


def _scored(name: str) -> Operation:
    operation = _asked(name, "Score by MLflow's bodies", "ScoreRequest", "ScoreResponse")
    operation["description"] = "All rows are of one form, and all columns have as many. CSV has a line of names."
    operation["requestBody"]["content"][CSV_TYPE] = {"schema": TEXT}
    return operation


def _asked(name: str, summary: str, request: str, response: str) -> Operation:
    content = {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{request}"}}}
    return {**_told(name, summary, response, _INFER), "requestBody": {"required": True, "content": content}}


def _told(name: str, summary: str, answer: str | None, refusals: Sequence[str]) -> Operation:
    """An operation that answers with a named schema, or else with text."""
    schema: Schema = TEXT if answer is None else {"$ref": f"#/components/schemas/{answer}"}
    good = {"description": "The answer.", "content": {TEXT_TYPE if answer is None else JSON_TYPE: {"schema": schema}}}
    responses = {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)}
    return {"operationId": name, "summary": summary, "responses": {"200": good, **responses}}


def _free(operation: Operation) -> Operation:
    """Let anybody ask, token or not."""
    return {**operation, "security": []}


def _refusal(status: str) -> dict[str, Any]:
    description, header = _REFUSALS[status]
    said = {"description": description, "content": {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {**said, "headers": {header: {"required": True, "schema": TEXT}}} if header else said
