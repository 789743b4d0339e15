"""Owns which paths a version answers, and by which method; it knows no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Verb(Enum):
    """What a path asks for."""

    INFER = "infer"  # Open Inference Protocol V2
    METADATA = "metadata"
    READY = "ready"
    STATISTICS = "statistics"
    CONFIGURATION = "configuration"  # of Triton's clients
    DOCUMENT = "document"  # OpenAPI
    PREDICT = "predict"  # V1
    STATUS = "status"
    INVOCATIONS = "invocations"  # MLflow
    PING = "ping"
    MLFLOW_VERSION = "version"


@dataclass(frozen=True, slots=True)
class Route:
    """A verb and the only method that it takes."""

    verb: Verb
    method: str


_BEHIND_VERSION = (
    ("/v2", "/infer", Verb.INFER, "POST"),
    ("/v2", "", Verb.METADATA, "GET"),
    ("/v2", "/ready", Verb.READY, "GET"),
    ("/v2", "/stats", Verb.STATISTICS, "GET"),
    ("/v2", "/config", Verb.CONFIGURATION, "GET"),
    ("/v2", "/openapi.json", Verb.DOCUMENT, "GET"),
    ("/v1", ":predict", Verb.PREDICT, "POST"),
    ("/v1", "", Verb.STATUS, "GET"),
)
_MLFLOW = (
    ("/invocations", Verb.INVOCATIONS, "POST"),
    ("/ping", Verb.PING, "GET"),
    ("/health", Verb.PING, "GET"),
    ("/version", Verb.MLFLOW_VERSION, "GET"),
)


def routes(endpoint: str, version: int) -> Mapping[str, Route]:
    """Name every path of one version, so that finding a route is one look into a table."""
    table = {"/ready": Route(Verb.READY, "GET")}
    for protocol, suffix, verb, method in _BEHIND_VERSION:
        for middle in ("", f"/versions/{version}"):
            table[f"{protocol}/models/{endpoint}{middle}{suffix}"] = Route(verb, method)
    for suffix, verb, method in _MLFLOW:
        table[f"/mlflow/{endpoint}{suffix}"] = Route(verb, method)
    return table
