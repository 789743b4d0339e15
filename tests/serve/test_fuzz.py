"""A seeded fuzz of all three protocols: whatever comes in, the answer is 200 or 4xx, one sentence, and then forgotten.

FUZZ_BODIES says how many bodies; `make fuzz` sends a million.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.client
import os
import random
import struct
import sys
import zlib
from collections import Counter
from typing import Any

import numpy as np
import orjson
import psutil
import pytest
from rayloop.platform.model.signature import NUMPY_DTYPE, Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication
from rayloop.serve.protocol.tensor import WIRE_DTYPE
from rayloop.serve.service import VersionService

SECRET = "only-the-edge-knows"
MATRIX = Signature(
    tuple(ColumnSpec(name, "FP32") for name in "abc"),
    (ColumnSpec("prediction", "INT64"), ColumnSpec("p", "FP32", width=2)),
)
EVERY = Signature(
    (*(ColumnSpec(f"c_{datatype}", datatype) for datatype in NUMPY_DTYPE), ColumnSpec("wide", "FP32", width=2)),
    (ColumnSpec("text", "BYTES"), ColumnSpec("ok", "BOOL")),
)
WORDS = Signature((ColumnSpec("text", "BYTES"),), (ColumnSpec("length", "INT64"), ColumnSpec("text_again", "BYTES")))
HUGE: list[Any] = [2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e308, 1e39, -0.0, 5e-324]
JUNK: list[Any] = [None, True, False, -1, 0, 1, 0.5, "", "x", "\x00", "é" * 300, [], [[]], {}, [None], {"": {}}]
NAMES: list[Any] = ["FP64", "FP16", "BYTES", "INT8", "UINT64", "BOOL", "BF16", "binary_data_size", "name", "data"]
LENGTHS = ["", "-1", "0", "1", "7", "1.5", "x", "0x10", "99999999", "9" * 400, " 12 ", "1e3", "\u00b2"]
LITERALS = [b"Infinity", b"-Infinity", b"1e999", b"-9223372036854775809", b"9" * 5_000, b'"\\ud800"', b"0x1", b"01"]
CODINGS = ["gzip", "deflate", "br", "identity", "", "gzip, gzip", "GZIP"]
DATATYPES = [*WIRE_DTYPE, "BF16", "bytes", ""]
SHAPES: list[Any] = [[0], [-1], [1, 1], [2, 2], [1, 1, 1], [], [2**31, 2**31], [2**63], [1e3], ["1"], [True], 3, None]
CONTENT_TYPES = ["np", "str", "base64", "pd_json", "datetime", "pd", "", 1, None, ["base64"]]
BOMBS = [gzip.compress(bytes(20_000_000)), zlib.compress(b"[" * 5_000_000), gzip.compress(b'{"inputs":[' * 100_000)]
NUM_BODIES = int(os.environ.get("FUZZ_BODIES", "20000"))
MEDIA_TYPES = [
    "application/json",
    "text/csv",
    "text/csv; charset=utf-8",
    "text/plain",
    "",
    "application/json; charset=x",
]


class Predictor:
    """Answers every row of its types without a look at it."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature

    def predict(self, columns: Columns) -> Columns:
        rows = {len(columns[spec.name]) for spec in self.signature.inputs}
        assert len(rows) == 1
        for spec in self.signature.inputs:
            assert columns[spec.name].dtype == NUMPY_DTYPE[spec.datatype]
            assert columns[spec.name].shape == ((*rows,) if spec.width == 1 else (*rows, spec.width))
        (num_rows,) = rows
        shapes = {spec: (num_rows,) if spec.width == 1 else (num_rows, spec.width) for spec in self.signature.outputs}
        blank = {"BYTES": "é"}
        return {
            spec.name: np.full(shape, blank.get(spec.datatype, 1), NUMPY_DTYPE[spec.datatype])
            for spec, shape in shapes.items()
        }


def values_of(spec: ColumnSpec, rows: int) -> Any:
    flat = ["é", ""] * rows if spec.datatype == "BYTES" else [1, 0] * rows
    flat = [value == 1 for value in flat] if spec.datatype == "BOOL" else flat
    return flat[: rows * spec.width]


def raw_of(spec: ColumnSpec, rows: int) -> bytes:
    values = values_of(spec, rows)
    if spec.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in values)
    return np.array(values, NUMPY_DTYPE[spec.datatype]).tobytes()


def v2_seed(signature: Signature, rows: int, chance: random.Random) -> tuple[Any, bytes]:
    """A sound document and the raw tensors behind it; each input in JSON or in bytes."""
    inputs: list[dict[str, Any]] = []
    tail = b""
    for spec in signature.inputs:
        shape = [rows] if spec.width == 1 else [rows, spec.width]
        inputs.append({"name": spec.name, "shape": shape, "datatype": spec.datatype})
        if chance.random() < 0.5:
            inputs[-1]["parameters"] = {"binary_data_size": len(raw_of(spec, rows))}
            tail += raw_of(spec, rows)
        else:
            inputs[-1]["data"] = values_of(spec, rows)
    wanted = [{"name": spec.name, "parameters": {"binary_data": chance.random() < 0.5}} for spec in signature.outputs]
    return {"id": "1", "parameters": {"binary_data_output": True}, "inputs": inputs, "outputs": wanted}, tail


def table_seed(signature: Signature, rows: int, chance: random.Random) -> Any:
    """A sound document of V1 or MLflow."""
    names = [spec.name for spec in signature.inputs]
    columns = {
        spec.name: np.reshape(np.array(values_of(spec, rows), dtype=object), (rows, -1)).tolist()
        for spec in signature.inputs
    }
    plain = {name: [v if len(v) > 1 else v[0] for v in values] for name, values in columns.items()}
    lists = [list(row) for row in zip(*plain.values(), strict=True)]
    records = [dict(zip(names, row, strict=True)) for row in lists]
    return chance.choice(
        [
            {"instances": lists},
            {"instances": records},
            {"inputs": plain},
            {"dataframe_split": {"columns": names, "data": lists}},
            {"dataframe_records": records, "params": {}},
        ]
    )


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
    return chance.choice(chance.choice([JUNK, HUGE, NAMES]))


def twist(document: Any, chance: random.Random) -> Any:
    """Say something else of one tensor than what its data is."""
    inputs = [dict(tensor) for tensor in document["inputs"]]
    tensor = chance.choice(inputs)
    kind = chance.randrange(5)
    if kind == 0:
        tensor["shape"] = chance.choice(SHAPES)
    elif kind == 1:
        tensor["datatype"] = chance.choice(DATATYPES)
    elif kind == 2:
        size = dict(tensor.get("parameters") or {}).get("binary_data_size", 4)
        size = chance.choice([size - 1, size + 1, 0, -1, 2**31, 2**63, 2**70 * 1.0, str(size), 1.5, None])
        tensor["parameters"] = {"binary_data_size": size}
    elif kind == 3:
        tensor["parameters"] = {"content_type": chance.choice(CONTENT_TYPES)}
    else:
        inputs.append(chance.choice(inputs))
    return {**document, "inputs": inputs}


def spoil(content: bytes, chance: random.Random) -> bytes:
    """Change bytes, cut, repeat, or say it in a wrong encoding."""
    kind = chance.randrange(6)
    if kind == 0:
        return content[: chance.randrange(len(content) + 1)]
    if kind == 1:
        return content + content[: chance.randrange(20)]
    if kind == 2:
        return content.decode("latin-1").encode(chance.choice(["utf-16", "utf-8-sig", "utf-32"]))
    if kind == 3:
        depth = chance.choice([10, 500, 1_100, 20_000])
        return content.replace(b"[", b"[" * depth, 1) if chance.random() < 0.5 else b'{"inputs":' * depth
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def one_body(signature: Signature, chance: random.Random, model: str = "m") -> tuple[str, bytes, dict[str, str]]:
    """Choose a path, a body and headers."""
    rows, tail, headers = chance.choice([1, 2, 3]), b"", {"content-type": "application/json"}
    path = chance.choice(
        [f"/v2/models/{model}/infer"] * 3 + [f"/v1/models/{model}:predict", f"/mlflow/{model}/invocations"]
    )
    if path.startswith("/v2"):
        document, tail = v2_seed(signature, rows, chance)
        if chance.random() < 0.3:
            document = twist(document, chance)
    else:
        document = table_seed(signature, rows, chance)
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        document = mutate(document, chance)
    content = orjson.dumps(document)
    if chance.random() < 0.05:
        content = content.replace(b":1", b":NaN").replace(b",1", b",NaN").replace(b"0]", chance.choice(LITERALS) + b"]")
    if path.startswith("/mlflow") and chance.random() < 0.4:
        names = ",".join(spec.name for spec in signature.inputs)
        cells = ("1", "true", "", "x", "1e999", '"', "9" * 30, "nan")
        content = "\n".join([names] + [",".join(chance.choices(cells, k=len(signature.inputs)))] * rows).encode()
        headers["content-type"] = chance.choice(MEDIA_TYPES[:3])
    if path.startswith("/v2") and (tail or chance.random() < 0.2):
        headers["inference-header-content-length"] = str(len(content))
    if chance.random() < 0.15:
        headers["inference-header-content-length"] = chance.choice(LENGTHS)
    content += tail
    if chance.random() < 0.3:
        content = spoil(content, chance)
    if chance.random() < 0.15:
        headers["content-encoding"] = chance.choice(CODINGS)
        content = chance.choice([gzip.compress, zlib.compress, bytes])(content)
        content = spoil(content, chance) if chance.random() < 0.3 else content
        content = chance.choice(BOMBS) if chance.random() < 0.1 else content
    if chance.random() < 0.1:
        headers["accept-encoding"] = chance.choice(CODINGS)
    if chance.random() < 0.1:
        headers["content-type"] = chance.choice(MEDIA_TYPES)
    return path, content, headers


async def ask(application: VersionApplication, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    pairs.append((b"x-rayloop-secret", SECRET.encode()))
    await application({"type": "http", "method": "POST", "path": path, "headers": pairs}, receive, send)
    return sent[0]["status"], sent[1]["body"]


def check(status: int, answer: bytes) -> None:
    """An error is one sentence."""
    assert status in {200, 400, 413, 415}, (status, answer[:300])
    if status != 200:
        sentence = orjson.loads(answer)["error"]
        assert sentence
        assert "\n" not in sentence
        assert len(sentence) < 1_000


def held() -> tuple[int, int]:
    """How many blocks Python holds, and how many bytes the process."""
    gc.collect()
    return sys.getallocatedblocks(), psutil.Process().memory_info().rss


def fuzz(num_bodies: int, seed: int) -> tuple[Counter[int], tuple[int, int]]:
    """Send mutated bodies, 16 at a time so that some of them join, and check each answer.

    Gives the counts of the statuses, and by how much more is held at the end than after the first quarter.
    """
    chance = random.Random(seed)
    applications = [
        (s, VersionApplication(VersionService("m", 1, Predictor(s), SECRET, max_body_bytes=100_000)))
        for s in (MATRIX, EVERY)
    ]
    statuses: Counter[int] = Counter()
    early = (0, 0)

    async def run() -> None:
        nonlocal early
        for number in range(0, num_bodies, 16):
            if number == num_bodies // 64 * 16:
                early = held()
            signature, application = chance.choice(applications)
            bodies = [one_body(signature, chance) for _ in range(16)]
            for status, answer in await asyncio.gather(*(ask(application, *body) for body in bodies)):
                statuses[status] += 1
                check(status, answer)

    try:
        asyncio.run(run())
        late = held()
    finally:
        for _, application in applications:
            application.close()
    return statuses, (late[0] - early[0], late[1] - early[1])


def test_fuzzed_bodies_are_answered_or_refused_and_forgotten() -> None:
    statuses, (num_blocks, num_bytes) = fuzz(NUM_BODIES, seed=20_260_101)
    assert sum(statuses.values()) == NUM_BODIES
    assert statuses[200] > NUM_BODIES / 10
    assert statuses[400] > NUM_BODIES / 4
    assert statuses[413] > 0
    assert statuses[415] > 0
    assert num_blocks < NUM_BODIES / 20, "what a request made is kept"
    assert num_bytes < 32 * 1024**2


@pytest.mark.parametrize(("model", "signature"), [("table", MATRIX), ("words", WORDS)])
def test_fuzzed_bodies_through_the_edge(front: Any, model: str, signature: Signature) -> None:
    chance = random.Random(20_260_102)
    connection = http.client.HTTPConnection(front.host, timeout=20)
    statuses: Counter[int] = Counter()
    for _ in range(NUM_BODIES // 10):
        path, body, headers = one_body(signature, chance, model)
        connection.request("POST", path, body, {name: value.encode("latin-1") for name, value in headers.items()})
        answer = connection.getresponse()
        check(answer.status, answer.read())
        statuses[answer.status] += 1
    connection.close()
    assert statuses[200] > NUM_BODIES / 100
    assert statuses[400] > NUM_BODIES / 40
