"""Requests that MLServer's codecs write, and its readers of the answers; run by MLServer's environment.

It has no HTTP client of its own but the one of `mlserver infer`, so the standard library carries the bodies.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from calls import tell
from mlserver.codecs import (
    Base64Codec,
    DatetimeCodec,
    NumpyCodec,
    NumpyRequestCodec,
    PandasCodec,
    StringCodec,
    StringRequestCodec,
)
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    Parameters,
    RepositoryIndexResponse,
    RequestOutput,
)

URL = sys.argv[1]


def ask(path: str, body: str | None = None) -> tuple[int, bytes]:
    data = None if body is None else body.encode()
    request = urllib.request.Request(URL + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def infer(model: str, request: InferenceRequest) -> InferenceResponse:
    status, body = ask(f"/v2/models/{model}/infer", request.model_dump_json(exclude_none=True))
    if status != 200:
        raise RuntimeError(f"{status}: {InferenceErrorResponse.model_validate_json(body).error}")
    return InferenceResponse.model_validate_json(body)


FRAME = pd.DataFrame(
    {
        "number": np.array([0.5, np.nan], np.float32),
        "text": pd.Series(["köln", "b"], dtype=object),
        "whole": np.array([3, 30], np.int32),
        "flag": [True, False],
    }
)


def frame(**options: Any) -> Any:
    return PandasCodec.decode_response(infer("m", PandasCodec.encode_request(FRAME, **options))).to_dict("list")


def objects() -> Any:
    """Columns of Python objects, which the codec writes as JSON texts."""
    mixed = FRAME.assign(text=pd.Series(["a", "b"], dtype=object), whole=pd.Series([3, 30], dtype=object))
    return PandasCodec.decode_response(infer("m", PandasCodec.encode_request(mixed))).to_dict("list")


def one_by_one() -> Any:
    request = InferenceRequest(
        inputs=[
            NumpyCodec.encode_input("number", np.array([0.5, 1.0], np.float32)),
            StringCodec.encode_input("text", ["köln", "b"]),
            NumpyCodec.encode_input("whole", np.array([3, 30])),
            NumpyCodec.encode_input("flag", np.array([True, False])),
        ],
        outputs=[
            RequestOutput(name="double", parameters=Parameters(content_type="np")),
            RequestOutput(name="shout", parameters=Parameters(content_type="str")),
        ],
    )
    answer = infer("m", request)
    double, shout = answer.outputs
    return [NumpyCodec.decode_output(double).ravel().tolist(), StringCodec.decode_output(shout)]


def matrix() -> Any:
    answer = infer("table", NumpyRequestCodec.encode_request(np.array([[0.5, 0.25, 1], [0, 0, 0]], np.float32)))
    return {output.name: NumpyCodec.decode_output(output).tolist() for output in answer.outputs}


def text(request: InferenceRequest) -> Any:
    answer = infer("words", request)
    return [NumpyCodec.decode_output(answer.outputs[0]).ravel().tolist(), StringCodec.decode_output(answer.outputs[1])]


def datetimes() -> Any:
    moment = pd.Timestamp("2026-01-02T03:04:05").to_pydatetime()
    answer = infer("words", InferenceRequest(inputs=[DatetimeCodec.encode_input("text", [moment])]))
    return [str(read) for read in DatetimeCodec.decode_output(answer.outputs[1])]


def told() -> Any:
    return [
        MetadataServerResponse.model_validate_json(ask("/v2")[1]).name,
        MetadataModelResponse.model_validate_json(ask("/v2/models/m/versions/2")[1]).versions,
        [
            entry.name
            for entry in RepositoryIndexResponse.model_validate_json(ask("/v2/repository/index", "{}")[1]).root
        ],
        ask("/v2/models/m/versions/2/ready")[0],
        [ask("/v2/health/live")[0], ask("/v2/health/ready")[0]],
    ]


def command_line(*options: str) -> Any:
    """`mlserver infer` over a file of requests, one a line."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        one = NumpyRequestCodec.encode_request(np.array([[0.5, 0.25, 1]], np.float32))
        source.write_text("\n".join([one.model_dump_json(exclude_none=True)] * 3) + "\n")
        program = str(Path(sys.executable).parent / "mlserver")
        host = URL.removeprefix("http://")
        command = [program, "infer", "-u", host, "-m", "table", "-i", str(source), "-o", str(target), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-500:])
        answers = [json.loads(line) for line in target.read_text().splitlines()]
        return [{output["name"]: output["data"] for output in answer["outputs"]} for answer in answers]


tell(
    {
        "frame": frame,
        "frame of text": lambda: frame(use_bytes=False),
        "frame of objects": objects,
        "one by one": one_by_one,
        "matrix": matrix,
        "strings": lambda: text(InferenceRequest(inputs=[StringCodec.encode_input("text", ["köln", ""])])),
        "strings as they come": lambda: text(StringRequestCodec.encode_request(["köln", ""])),
        "base64": lambda: text(InferenceRequest(inputs=[Base64Codec.encode_input("text", ["köln".encode(), b"abc"])])),
        "datetime": datetimes,
        "metadata": told,
        "command line": command_line,
        "command line, binary": lambda: command_line("--binary-data"),
        "refused": lambda: text(InferenceRequest(inputs=[NumpyCodec.encode_input("text", np.array([1.5]))])),
    }
)
