"""V1, MLflow's scoring and the statistics, through the application: known answers and what is refused."""

from __future__ import annotations

import asyncio
import importlib.metadata
from typing import Any

import numpy as np
import orjson
import pytest
from rayloop.platform.model.signature import Columns, ColumnSpec, Signature
from rayloop.serve.application import VersionApplication
from rayloop.serve.protocol.statistics import size_class
from rayloop.serve.service import VersionService

SECRET = "only-the-edge-knows"
JSON = {"content-type": "application/json"}
TWO = Signature(
    (ColumnSpec("a", "FP64"), ColumnSpec("b", "FP64")),
    (ColumnSpec("prediction", "BYTES"), ColumnSpec("probabilities", "FP64", width=2)),
)
MIXED = Signature(
    (ColumnSpec("city", "BYTES"), ColumnSpec("age", "INT32"), ColumnSpec("ok", "BOOL"), ColumnSpec("size", "FP32")),
    (ColumnSpec("seen", "BYTES"),),
)
WIDE = Signature((ColumnSpec("v", "FP32", width=3),), (ColumnSpec("s", "FP32"), ColumnSpec("t", "FP32")))
BIG = Signature((ColumnSpec("n", "INT64"),), (ColumnSpec("prediction", "INT64"),))


class Predictor:
    """Answers what it has seen, so that a test sees how its rows were read."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.error: Exception | None = None

    def predict(self, columns: Columns) -> Columns:
        if self.error is not None:
            raise self.error
        if self.signature is BIG:
            return {"prediction": columns["n"]}
        if self.signature is WIDE:
            total = columns["v"].sum(axis=1)
            return {"s": total, "t": -total}
        if self.signature is MIXED:
            rows = zip(*(columns[spec.name].tolist() for spec in MIXED.inputs), strict=True)
            return {"seen": np.array([repr(row) for row in rows], dtype=object)}
        parts = np.stack([columns["a"], columns["b"]], axis=1)
        return {"prediction": np.where(parts[:, 0] > parts[:, 1], "left", "right"), "probabilities": parts}


def ask(
    signature_or_application: Any, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Send one request; gives status, body (parsed where it is JSON) and headers."""
    application = signature_or_application
    if isinstance(application, Signature):
        application = VersionApplication(VersionService("m", 1, Predictor(application), SECRET, max_body_bytes=10_000))
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"x-rayloop-secret": SECRET, **(JSON if headers is None else headers)}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    asyncio.run(application({"type": "http", "method": method, "path": path, "headers": pairs}, receive, send))
    if application is not signature_or_application:
        application.close()
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    raw = sent[1]["body"]
    return sent[0]["status"], orjson.loads(raw) if got["content-type"] == "application/json" else raw, got


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v1/models/m/versions/1:predict"])
@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2], [4, 3.5]]},
        {"instances": [{"a": 1, "b": 2}, {"b": 3.5, "a": 4}], "signature_name": "serving_default"},
        {"inputs": {"b": [2, 3.5], "a": [1, 4]}},
        {"inputs": {"b": [[2], [3.5]], "a": [1, 4]}},
        {"inputs": {"b": [[2], 3.5], "a": [1, [4]]}},
        {"instances": [[1, [2]], [[4], 3.5]]},
        {"instances": [{"a": [1], "b": 2}, {"b": [3.5], "a": [4]}]},
        {"inputs": [[1, 2], [4, 3.5]]},
    ],
)
def test_v1_predicts(path: str, body: Any) -> None:
    assert ask(TWO, "POST", path, body)[:2] == (200, {"predictions": ["right", "left"]})


def test_v1_reads_a_body_of_any_media_type_and_tells_that_it_is_ready() -> None:
    assert ask(TWO, "POST", "/v1/models/m:predict", {"instances": [[1, 2]]}, {})[0] == 200
    for path in ("/v1/models/m", "/v1/models/m/versions/1"):
        assert ask(TWO, "GET", path)[:2] == (200, {"name": "m", "ready": True})
    assert ask(TWO, "GET", "/v1/models/m:predict")[0] == 405
    assert ask(TWO, "POST", "/v1/models/n:predict", {"instances": [[1, 2]]})[0] == 404


@pytest.mark.parametrize(
    "instances", [[[1, 2, 3], [4, 5, 6]], [[[1, 2, 3]], [[4, 5, 6]]], [{"v": [1, 2, 3]}, {"v": [4, 5, 6]}]]
)
def test_v1_takes_wide_columns_and_answers_objects_where_no_output_is_the_main_one(instances: Any) -> None:
    status, answer, _ = ask(WIDE, "POST", "/v1/models/m:predict", {"instances": instances})
    assert (status, answer) == (200, {"predictions": [{"s": 6.0, "t": -6.0}, {"s": 15.0, "t": -15.0}]})


def test_values_keep_their_meaning() -> None:
    row = {"city": "Köln", "age": 3.0, "ok": 1, "size": None}
    answer = ask(MIXED, "POST", "/v1/models/m:predict", {"instances": [row, {**row, "ok": False}]})[1]
    assert answer["predictions"] == ["('Köln', 3, True, nan)", "('Köln', 3, False, nan)"]


def test_whole_numbers_stay_exact_beside_fractions_that_are_none() -> None:
    row = [[2**53 + 1], [2.0], [True], [-(2**63)]]
    answer = ask(BIG, "POST", "/v1/models/m:predict", {"instances": row})[1]
    assert answer["predictions"] == [2**53 + 1, 2, 1, -(2**63)]


@pytest.mark.parametrize("rows", [[1, 2], [[1], [2]], [[1], 2], [1, [2]], [[[1]], [[2]]], [{"n": 1}, {"n": [2]}]])
def test_the_only_column_comes_bare_or_in_lists_of_one(rows: Any) -> None:
    assert ask(BIG, "POST", "/v1/models/m:predict", {"instances": rows})[:2] == (200, {"predictions": [1, 2]})


def test_true_is_one_among_numbers() -> None:
    rows = [{"a": True, "b": 2}, {"a": 4, "b": 3.5}, {"a": None, "b": False}]
    answer = ask(TWO, "POST", "/v1/models/m:predict", {"instances": rows})[1]
    assert answer["predictions"] == ["right", "left", "right"]
    assert ask(TWO, "POST", "/v1/models/m:predict", {"instances": [[1, True], [2, 3]]})[0] == 200


SCORED = {
    "predictions": [{"prediction": "right", "probabilities": [1, 2]}, {"prediction": "left", "probabilities": [4, 3.5]}]
}
SPLIT = {"columns": ["b", "more", "a"], "data": [[2, None, 1], [3.5, "x", 4]]}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {**SPLIT, "index": [0, 1]}},
        {"dataframe_split": {"data": [[1, 2], [4, 3.5]]}},
        {"dataframe_records": [{"a": 1, "b": 2, "more": 0}, {"b": 3.5, "a": 4}], "params": {"p": 1}},
        {"instances": [[1, 2], [4, 3.5]], "params": None},
        {"instances": [{"a": 1, "b": 2}, {"a": 4, "b": 3.5}]},
        {"inputs": {"a": [1, 4], "b": [2, 3.5]}},
        {"inputs": [[1, 2], [4, 3.5]]},
    ],
)
def test_mlflow_scores_json(body: Any) -> None:
    assert ask(TWO, "POST", "/mlflow/m/invocations", body)[:2] == (200, SCORED)


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=UTF-8", 'Text/CSV;charset="utf-8"'])
@pytest.mark.parametrize("text", ["a,b\n1,2\n4,3.5\n", '\ufeffb,x,a\r\n\r\n2,"q,\n",1\r\n3.5,,4.0e0'])
def test_mlflow_scores_csv(content_type: str, text: str) -> None:
    headers = {"content-type": content_type}
    assert ask(TWO, "POST", "/mlflow/m/invocations", text.encode(), headers)[:2] == (200, SCORED)


def test_csv_cells_are_read_by_their_column() -> None:
    text = "city,age,ok,size\n 12 ,+3,TRUE,\nnan,4.0,0,1e-3\n"
    answer = ask(MIXED, "POST", "/mlflow/m/invocations", text.encode(), {"content-type": "text/csv"})[1]
    size = float(np.float32(1e-3))
    assert [row["seen"] for row in answer["predictions"]] == ["(' 12 ', 3, True, nan)", f"('nan', 4, False, {size})"]


def test_mlflow_ping_health_and_version() -> None:
    for path in ("/mlflow/m/ping", "/mlflow/m/health"):
        assert ask(TWO, "GET", path)[:2] == (200, b"\n")
    assert ask(TWO, "GET", "/mlflow/m/version")[1].decode() == importlib.metadata.version("mlflow")
    assert ask(TWO, "POST", "/mlflow/m/ping")[0] == 405
    assert ask(TWO, "GET", "/mlflow/other/ping")[0] == 404


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/json; charset=latin-1", "text/csv;header=present", "application/*"],
)
def test_mlflow_refuses_other_media_types(content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    status, answer, _ = ask(TWO, "POST", "/mlflow/m/invocations", {"instances": [[1, 2]]}, headers)
    assert status == 415
    assert "content-type" in answer["error"]


INVOCATIONS, PREDICT = "/mlflow/m/invocations", "/v1/models/m:predict"
MALFORMED: list[tuple[str, Any, Signature, str]] = [
    (PREDICT, b"{", TWO, "not JSON"),
    (PREDICT, b"[" * 100_00, TWO, "not JSON"),
    (PREDICT, [], TWO, "a list"),
    (PREDICT, {}, TWO, "0 of the keys"),
    (PREDICT, {"instances": [], "inputs": []}, TWO, "2 of the keys"),
    (PREDICT, {"instances": []}, TWO, "empty"),
    (PREDICT, {"instances": {"a": [1], "b": [2]}}, TWO, "an object"),
    (PREDICT, {"inputs": 3}, TWO, "3"),
    (PREDICT, {"inputs": {}}, TWO, "misses"),
    (PREDICT, {"instances": [1, 2]}, TWO, "row 0 is 1"),
    (PREDICT, {"instances": [[1, 2], [1]]}, TWO, "row 1 has 1 values"),
    (PREDICT, {"instances": [[1, 2], {"a": 1, "b": 2}]}, TWO, "row 1 is an object"),
    (PREDICT, {"instances": [{"a": 1, "b": 2}, [1, 2]]}, TWO, "row 1 is a list"),
    (PREDICT, {"instances": [{"a": 1}]}, TWO, "misses 'b'"),
    (PREDICT, {"instances": [{"a": 1, "b": 2, "c": 3}]}, TWO, "'c'"),
    (PREDICT, {"instances": [[1, "x"]]}, TWO, "'x'"),
    (PREDICT, {"instances": [[1, [2, 3]]]}, TWO, "a list"),
    (PREDICT, {"instances": [[1, [[2]]]]}, TWO, "a list"),
    (PREDICT, {"instances": [[1, []]]}, TWO, "a list"),
    (PREDICT, b'{"instances": [[-9223372036854775809]]}', BIG, "does not fit"),
    (PREDICT, b'{"instances": [[1], [-9223372036854775809]]}', BIG, "does not fit"),
    (PREDICT, {"instances": [[1.0], [2**63], [0]]}, BIG, "does not fit"),
    (PREDICT, {"instances": [[1], [1.5]]}, BIG, "whole numbers"),
    (PREDICT, {"instances": [[1], [1.0], [None]]}, BIG, "null"),
    (PREDICT, {"inputs": {"a": [1, 2], "b": [1]}}, TWO, "'b' has 1 rows"),
    (PREDICT, {"inputs": {"a": [], "b": []}}, TWO, "empty"),
    (PREDICT, {"inputs": {"a": 1, "b": 2}}, TWO, "'a' is 1"),
    (PREDICT, {"instances": [["x", 2**31, True, 1]]}, MIXED, "INT32"),
    (PREDICT, {"instances": [["x", 1.5, True, 1]]}, MIXED, "'age'"),
    (PREDICT, {"instances": [["x", 1, 2, 1]]}, MIXED, "'ok'"),
    (PREDICT, {"instances": [[1, 1, True, 1]]}, MIXED, "'city'"),
    (PREDICT, {"instances": [["x", None, True, 1]]}, MIXED, "null"),
    (PREDICT, {"instances": [[1, 2]]}, WIDE, "2 values"),
    (INVOCATIONS, [[1, 2]], TWO, "dataframe_split, dataframe_records, instances, inputs"),
    (INVOCATIONS, {"messages": []}, TWO, "0 of the keys"),
    (INVOCATIONS, {"instances": [[1, 2]], "inputs": [[1, 2]]}, TWO, "exactly one"),
    (INVOCATIONS, {"instances": [[1, 2]], "params": [1]}, TWO, "params"),
    (INVOCATIONS, {"instances": [[1, 2]], "params": False}, TWO, "params"),
    (INVOCATIONS, {"dataframe_split": []}, TWO, "'columns' and 'data'"),
    (INVOCATIONS, {"dataframe_split": {"columns": ["a", "b"], "data": []}}, TWO, "no rows"),
    (INVOCATIONS, {"dataframe_split": {"columns": [1, 2], "data": [[1, 2]]}}, TWO, "names"),
    (INVOCATIONS, {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, TWO, "more than once"),
    (INVOCATIONS, {"dataframe_split": {"columns": ["a"], "data": [[1]]}}, TWO, "misses 'b'"),
    (INVOCATIONS, {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}, TWO, "row 0 has 1 values"),
    (INVOCATIONS, {"dataframe_records": [{"a": 1, "c": 1}]}, TWO, "misses 'b'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "signature", "words"), MALFORMED)
def test_a_malformed_body_is_400_in_its_protocol(path: str, body: Any, signature: Signature, words: str) -> None:
    status, answer, _ = ask(signature, "POST", path, body)
    assert status == 400
    assert words in answer["error"]
    assert len(answer["error"]) < 600
    if path == INVOCATIONS:
        assert answer == {"error_code": "BAD_REQUEST", "message": answer["error"], "error": answer["error"]}


@pytest.mark.parametrize("text", [b"", b"\n", b"a,b", b"a\n1", b"a,b\n1", b"a,b\n1,x", b"a,b\n1,1_0", b"\xff\n",
                                  b'a,b\n"1,2', b"a,b\n1,\xd9\xa1", b"a,b\n" + b"1" * 5_000 + b",e"])  # fmt: skip
def test_malformed_csv_is_400(text: bytes) -> None:
    status, answer, _ = ask(TWO, "POST", INVOCATIONS, text, {"content-type": "text/csv"})
    assert (status, answer["error_code"]) == (400, "BAD_REQUEST")


def test_a_failing_model_says_so_in_mlflows_words() -> None:
    predictor = Predictor(TWO)
    predictor.error = ZeroDivisionError("its secret")
    application = VersionApplication(VersionService("m", 1, predictor, SECRET))
    status, answer, _ = ask(application, "POST", INVOCATIONS, {"instances": [[1, 2]]})
    assert (status, answer["error_code"]) == (500, "INTERNAL_ERROR")
    assert answer["error"] == "the model failed: ZeroDivisionError"
    application.close()
    status, answer, _ = ask(application, "POST", INVOCATIONS, {"instances": [[1, 2]]})
    assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_statistics_count_what_happened() -> None:
    predictor = Predictor(TWO)
    application = VersionApplication(VersionService("m", 1, predictor, SECRET, max_body_bytes=100))
    for rows in (1, 3):
        assert ask(application, "POST", PREDICT, {"instances": [[1, 2]] * rows})[0] == 200
    assert ask(application, "POST", PREDICT, {})[0] == 400
    assert ask(application, "POST", PREDICT, b" " * 101)[0] == 413
    predictor.error = ZeroDivisionError()
    assert ask(application, "POST", PREDICT, {"instances": [[1, 2]]})[0] == 500
    for path in ("/v2/models/m/stats", "/v2/models/m/versions/1/stats"):
        status, answer, _ = ask(application, "GET", path)
        assert status == 200
    application.close()
    (model,) = answer["model_stats"]
    assert (model["name"], model["version"]) == ("m", "1")
    assert (model["inference_count"], model["execution_count"]) == (4, 3)
    assert model["last_inference"] > 1_600_000_000_000
    stats = model["inference_stats"]
    counts = {name: stat["count"] for name, stat in stats.items()}
    assert counts == {"success": 2, "fail": 3, "queue": 3, "compute_input": 3, "compute_infer": 3, "compute_output": 2,
                      "cache_hit": 0, "cache_miss": 0}  # fmt: skip
    assert all(stat["ns"] > 0 for name, stat in stats.items() if not name.startswith("cache"))
    assert stats["success"]["ns"] > stats["compute_output"]["ns"]
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in model["batch_stats"]] == [
        (1, 2),
        (4, 1),
    ]


def test_batch_sizes_fall_into_few_classes() -> None:
    assert [size_class(rows) for rows in (1, 2, 3, 256, 257)] == [1, 2, 4, 256, 512]
