"""The requests' bodies: the same float32 numbers as JSON or as a binary tensor, and how answers are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

FEATURES = 30
SEED = 7
LENGTH_HEADER = "inference-header-content-length"
OUTPUT = "probabilities"

# N = rows, F = features


def table(rows: int) -> list[list[float]]:
    """Rows of four decimals, which JSON writes short; the first is the same however many there are."""
    found_NF = np.random.default_rng(SEED).normal(size=(rows, FEATURES))
    return [[round(float(value), 4) for value in row] for row in found_NF]


def plain() -> bytes:
    """One row as the peers without a protocol of their own take it."""
    return _written({"x": table(1)})


def v2(rows: int = 1) -> bytes:
    """Rows in the Open Inference Protocol's JSON."""
    data = [value for row in table(rows) for value in row]
    return _written({"inputs": [{"name": "x", "shape": [rows, FEATURES], "datatype": "FP32", "data": data}]})


def v2_binary(rows: int) -> tuple[bytes, Mapping[str, str]]:
    """The same rows by the binary tensor extension, answered in binary too; with the headers it needs."""
    tensor = np.array(table(rows), dtype="<f4").tobytes()
    described: dict[str, object] = {"name": "x", "shape": [rows, FEATURES], "datatype": "FP32"}
    described["parameters"] = {"binary_data_size": len(tensor)}
    head = _written({"inputs": [described], "parameters": {"binary_data_output": True}})
    return head + tensor, {"content-type": "application/octet-stream", LENGTH_HEADER: str(len(head))}


def probabilities(answer: Any) -> list[float]:
    """The probabilities in any server's JSON answer, row by row."""
    found = answer
    if isinstance(answer, dict) and "outputs" in answer:
        (found,) = [output["data"] for output in answer["outputs"] if output["name"] == OUTPUT]
    elif isinstance(answer, dict):
        found = answer[OUTPUT]
    return [float(value) for value in np.asarray(found).reshape(-1)]


def binary_probabilities(body: bytes, head_length: int) -> list[float]:
    """The probabilities in a binary answer."""
    place = head_length
    for output in json.loads(body[:head_length])["outputs"]:
        size = int(output["parameters"]["binary_data_size"])
        if output["name"] == OUTPUT:
            return [float(value) for value in np.frombuffer(body[place : place + size], dtype="<f4")]
        place += size
    raise ValueError(f"the answer has no output {OUTPUT!r}")


def differ(ours: list[float], theirs: list[float], tolerance: float = 1e-4) -> bool:
    """True where two answers are not the same numbers."""
    return len(ours) != len(theirs) or max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > tolerance


def _written(value: object) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
