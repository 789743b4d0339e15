"""What Triton's own gRPC client is asked to do; its arguments are the edge's address, and a token if there is one."""

from __future__ import annotations

import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from calls import tell

target, *tokens = sys.argv[1:]
client = triton.InferenceServerClient(target)
headers = {"authorization": f"Bearer {tokens[0]}"} if tokens else None


def inputs() -> list[Any]:
    values = {
        "number": ("FP32", np.array([0, 1], np.float32)),
        "text": ("BYTES", np.array(["köln0", "köln1"], dtype=object)),
        "whole": ("INT64", np.array([0, 10])),
        "flag": ("BOOL", np.zeros(2, bool)),
    }
    made = []
    for name, (datatype, given) in values.items():
        made.append(triton.InferInput(name, [2], datatype))
        made[-1].set_data_from_numpy(given)
    return made


def infer(version: str = "", **options: Any) -> dict[str, Any]:
    result = client.infer("m", inputs(), version, headers=headers, request_id="mine", **options)
    answer = result.get_response()
    found = {output.name: result.as_numpy(output.name).tolist() for output in answer.outputs}
    texts = [text.decode() for text in found.get("shout", [])]
    return {"id": answer.id, "version": answer.model_version, **found, **({"shout": texts} if texts else {})}


def later() -> Any:
    got: queue.Queue[Any] = queue.Queue()
    for _ in range(8):
        client.async_infer("m", inputs(), lambda result, error: got.put((result, error)), headers=headers)
    told = [got.get(timeout=10) for _ in range(8)]
    return [result.as_numpy("double").tolist() if error is None else str(error) for result, error in told]


tell(
    {
        "live": client.is_server_live,
        "ready": client.is_server_ready,
        "model ready": lambda: client.is_model_ready("m", "2", headers=headers),
        "server": lambda: client.get_server_metadata(headers=headers).name,
        "model": lambda: [column.name for column in client.get_model_metadata("m", headers=headers).inputs],
        "infer": infer,
        "pinned": lambda: infer("2"),
        "one output": lambda: infer(outputs=[triton.InferRequestedOutput("double")]),
        "many at once": later,
        "classes": lambda: infer(outputs=[triton.InferRequestedOutput("double", class_count=2)]),
        "no such model": lambda: client.get_model_metadata("nobody", headers=headers),
        "compressed": lambda: infer(compression_algorithm="gzip"),
        "configuration": lambda: client.get_model_config("m", headers=headers),
    }
)
