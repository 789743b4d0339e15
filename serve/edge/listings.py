"""Owns the rules by which the edge tells what is served, in the words of each protocol; it asks no replica."""

from __future__ import annotations

import hashlib
import json
from functools import cache

from ... import __version__
from ..protocol.openapi import edge_document
from .answers import ERRORS, UNKNOWN_MODEL, json_body
from .catalogue import shown_endpoint
from .settings import EdgeSettings

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
_DEPLOYMENTS = "/api/2.0/endpoints"
_READING = "GET HEAD"


@cache
def document_text() -> str:
    """The edge's OpenAPI document, which HAProxy reads from a file when it starts."""
    return edge_document().decode()


def liveness() -> list[str]:
    """Answer at the root as KServe's V1 servers do; its client asks there whether one lives."""
    return [*_allow("/", _READING), f"http-request return status 200 {json_body({'status': 'alive'})} if {{ path / }}"]


def listings(settings: EdgeSettings) -> list[str]:
    """Answer the lists, the server's own description and the document."""
    server = {"name": "rayloop", "version": __version__, "extensions": list(EXTENSIONS)}
    document = f"content-type application/json file '{settings.document_file}'"
    digest = hashlib.sha256(document_text().encode()).hexdigest()
    return [
        *_allow("/v2 /v2/", _READING),
        f"http-request return status 200 {json_body(server)} if {{ path /v2 /v2/ }}",
        *_allow("/openapi.json", _READING),
        f"# {digest}: a new document makes a new configuration, and HAProxy reads it again",
        f"http-request return status 200 {document} if {{ path /openapi.json }}",
        *_list(settings, "/v2/models /v1/models", "GET", "models"),
        *_list(settings, "/v2/repository/index", "POST", "index", only="ready"),
        *_list(settings, f"{_DEPLOYMENTS} {_DEPLOYMENTS}/", "GET", "endpoints"),
        *_one_endpoint(settings),
        # What mlflow.deployments asks is MLflow's scoring under another name.
        "http-request set-path %[path,regsub(^/endpoints/,/mlflow/)] "
        "if { path_beg /endpoints/ } { path_reg ^/endpoints/[^/]+/invocations$ }",
    ]


def methods_of_health() -> list[str]:
    """Refuse to be told anything at the health paths."""
    return _allow("/v2/health/live /v2/health/ready", _READING)


def _allow(paths: str, methods: str) -> list[str]:
    allowed = methods.replace(" ", ", ")
    return [
        f"http-request return status 405 {json_body({'error': ERRORS[405]})} hdr allow '{allowed}' "
        f"if {{ path {paths} }} !{{ method {methods} }}"
    ]


def _list(settings: EdgeSettings, paths: str, method: str, entry: str, only: str = "") -> list[str]:
    """Answer with a text of the catalogue; 503 while it is not there.

    `only` is another entry, and the key of a JSON body that asks for it.
    """
    asked, known = f"{{ path {paths} }}", f"map('{settings.catalogue_map}')"
    wanted = f"{asked} {{ req.body,json_query('$.{only}') -m bool }}"
    return [
        *_allow(paths, method),
        f"http-request set-var(txn.list) str({entry}),{known} if {asked}",
        *([f"http-request set-var(txn.list) str({only}),{known} if {wanted}"] if only else []),
        f"http-request return status 503 {json_body({'error': ERRORS[503]})} if {asked} !{{ var(txn.list) -m found }}",
        f"http-request return status 200 content-type application/json lf-string '%[var(txn.list)]' if {asked}",
    ]


def _one_endpoint(settings: EdgeSettings) -> list[str]:
    # Every request goes by these rules, and a prefix costs a tenth of a pattern.
    asked, refused = (
        f"{{ path_beg {_DEPLOYMENTS}/ }} {{ path_reg ^{_DEPLOYMENTS}/[^/]+$ }}",
        json_body({"error": ERRORS[405]}),
    )
    name = json.dumps(shown_endpoint("NAME"), separators=(",", ":")).replace("NAME", "%[var(txn.model)]")
    return [
        f"http-request return status 405 {refused} hdr allow GET if {asked} !{{ method GET }}",
        f"http-request set-var(txn.model) path,field(5,/) if {asked}",
        f"http-request set-var(txn.listed) var(txn.model),map('{settings.alias_map}') if {asked}",
        f"http-request set-var(txn.listed) var(txn.model),map('{settings.split_map}') "
        f"if {asked} !{{ var(txn.listed) -m found }}",
        f"http-request return status 404 {UNKNOWN_MODEL} if {asked} !{{ var(txn.listed) -m found }}",
        f"http-request return status 200 content-type application/json lf-string '{name}' if {asked}",
    ]
