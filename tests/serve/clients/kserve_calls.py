"""What KServe's own Python client asks an edge; run by KServe's environment with the edge's address."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
from calls import tell
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL = sys.argv[1]
HEADERS = {"authorization": f"Bearer {sys.argv[2]}"} if len(sys.argv) > 2 else {}


def ask(protocol: str, method: str, *arguments: Any, at: str = "", **options: Any) -> Any:
    async def run() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol=protocol, timeout=20)) as client:
            return await getattr(client, method)(
                URL + at, *arguments, headers=dict(HEADERS), **options
            )  # it writes into them

    return asyncio.run(run())


def inputs(*, is_binary: bool, rows: int = 2) -> list[InferInput]:
    values = {
        "number": ("FP32", np.linspace(0, 1, rows, dtype=np.float32)),
        "text": ("BYTES", np.array([f"köln{row}" for row in range(rows)], dtype=np.object_)),
        "whole": ("INT64", np.arange(rows) * 10),
        "flag": ("BOOL", np.arange(rows) == 0),
    }
    made = [InferInput(name, [rows], datatype) for name, (datatype, _) in values.items()]
    for tensor in made:
        tensor.set_data_from_numpy(values[tensor.name][1], binary_data=is_binary)
    return made


def plain(output: InferOutput) -> Any:
    values = output.as_numpy()
    if values.dtype == np.object_:
        return [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
    return values.tolist()


def infer(*, is_binary: bool, is_answer_binary: bool, names: tuple[str, ...] = ()) -> Any:
    wanted = [RequestedOutput(name, {"binary_data": is_answer_binary}) for name in names]
    request = InferRequest(
        "m",
        inputs(is_binary=is_binary),
        request_id="mine",
        parameters={"binary_data_output": is_answer_binary},
        request_outputs=wanted or None,
    )
    answer = ask("v2", "infer", request, model_name="m")
    return {
        "id": answer.id,
        "model": answer.model_name,
        "outputs": {output.name: plain(output) for output in answer.outputs},
        "types": {output.name: output.datatype for output in answer.outputs},
    }


def half() -> Any:
    tensor = InferInput("x", [1, 3], "FP16")
    tensor.set_data_from_numpy(np.array([[0.5, 0.25, 0.25]], np.float16), binary_data=True)
    answer = ask("v2", "infer", InferRequest("table", [tensor]), model_name="table")
    return {output.name: plain(output) for output in answer.outputs}


ROWS = {"instances": [{"number": 1, "text": "a", "whole": 3, "flag": False}]}
tell(
    {
        "v2 live": lambda: ask("v2", "is_server_live"),
        "v2 ready": lambda: ask("v2", "is_server_ready"),
        "v2 model ready": lambda: ask("v2", "is_model_ready", "m"),
        "v2 version ready": lambda: ask("v2", "is_model_ready", "m/versions/2"),
        "v2 no such model": lambda: ask("v2", "is_model_ready", "nobody"),
        "v1 live": lambda: ask("v1", "is_server_live"),
        "v1 model ready": lambda: ask("v1", "is_model_ready", "m"),
        "v1 no such model": lambda: ask("v1", "is_model_ready", "nobody"),
        "json": lambda: infer(is_binary=False, is_answer_binary=False),
        "binary": lambda: infer(is_binary=True, is_answer_binary=True),
        "binary in, json out": lambda: infer(is_binary=True, is_answer_binary=False),
        "two outputs": lambda: infer(is_binary=True, is_answer_binary=True, names=("double", "shout")),
        "half precision": half,
        "v1 predict": lambda: ask("v1", "infer", ROWS, model_name="m"),
        "graph": lambda: ask("v1", "infer", ROWS, is_graph_endpoint=True, at="/v1/models/m:predict"),
        "v1 explain": lambda: ask("v1", "explain", "m", ROWS),
        "v2 refused": lambda: ask("v2", "infer", {"inputs": []}, model_name="m"),
    }
)
