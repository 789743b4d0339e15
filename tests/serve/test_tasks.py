"""What the tasks take and give goes over the wire: pixels, pictures, texts, windows, labels and quantiles."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.artifact import LoadedModel
from rayloop.platform.model.schema import fit_schema, framed
from rayloop.platform.model.task import find_task
from rayloop.platform.project import Project
from rayloop.platform.traffic.capture_schema import arrow_schema
from rayloop.serve.protocol import checked_outputs
from rayloop.serve.protocol.v2 import V2
from rayloop.serve.warm_up import warm_up

IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)


def load(table: pa.Table, target: str, use: str, data: dict[str, Any] | None = None, **task: Any) -> LoadedModel:
    project = Project.model_validate(
        {"name": "a", "data": {"source": "a", "target": target, **(data or {})}, "task": {"use": use, **task}}
    )
    rows = framed(table, project)
    schema, found = fit_schema(rows, project), find_task(use)
    torch.manual_seed(0)
    module = found.build(schema, project.task.params).eval()
    return LoadedModel(schema, found, module, schema.signature(), "")


def ask(model: LoadedModel, *inputs: dict[str, Any]) -> dict[str, Any]:
    """One V2 request in JSON, as a replica answers it; the outputs by name."""
    codec = V2("a", 1, model.signature)
    request = codec.decode(json.dumps({"inputs": inputs}).encode(), {})
    outputs = checked_outputs(model.predict(request.columns), model.signature, request.rows)
    answer = json.loads(codec.encode(request, outputs, "id").body)
    return {one["name"]: one for one in answer["outputs"]}


def picture() -> bytes:
    content = io.BytesIO()
    Image.fromarray(IMAGE).save(content, format="PNG")
    return content.getvalue()


def pixels() -> LoadedModel:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.tile(IMAGE.reshape(-1), 2)), 64)
    return load(pa.table({"pixels": column, "y": [0, 1]}), "y", "image", params={"shape": [8, 8]})


def test_pixels_are_one_wide_tensor() -> None:
    model = pixels()
    flat = {"name": "pixels", "datatype": "UINT8", "shape": [2, 64], "data": IMAGE.reshape(-1).tolist() * 2}
    found = ask(model, flat)
    assert found["prediction"]["shape"] == [2]
    assert found["probabilities"]["shape"] == [2, 2]
    wanted = model.predict({"pixels": np.tile(IMAGE.reshape(-1), (2, 1)).astype(np.float32)})["probabilities"]
    assert found["probabilities"]["data"] == pytest.approx(wanted.reshape(-1).tolist())
    with pytest.raises(InvalidInput, match="the column has 64 values a row"):
        ask(model, {**flat, "shape": [4, 32]})


def test_pictures_are_base64_text() -> None:
    model = load(pa.table({"photo": [picture()] * 2, "y": ["a", "b"]}), "y", "image")
    text = base64.b64encode(picture()).decode()
    found = ask(model, {"name": "photo", "datatype": "BYTES", "shape": [1], "data": [text]})
    wanted = model.predict({"photo": np.array([picture()], dtype=object)})["probabilities"]
    assert found["probabilities"]["data"] == pytest.approx(wanted[0].tolist())
    with pytest.raises(InvalidInput, match="column 'photo' holds '%', which is not the base64 of a picture"):
        ask(model, {"name": "photo", "datatype": "BYTES", "shape": [1], "data": ["%"]})


def test_texts_are_texts() -> None:
    model = load(pa.table({"said": ["good", "bad"], "y": [True, False]}), "y", "sequence", params={"length": 8})
    found = ask(model, {"name": "said", "datatype": "BYTES", "shape": [3], "data": ["", "good", "é" * 50]})
    assert found["prediction"]["datatype"] == "BOOL"
    assert len(found["prediction"]["data"]) == 3


def test_labels_and_quantiles_are_wide_outputs() -> None:
    table = pa.table({"x": [1.0, 2.0], "y": [["a"], ["b", "a"]], "z": [1.0, 2.0]})
    labels = load(table, "y", "tabular", {"ignore": ["z"]}, kind="multilabel")
    row = {"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0, None]}
    found = ask(labels, row)
    assert (found["prediction"]["datatype"], found["prediction"]["shape"]) == ("BOOL", [2, 2])
    chances = found["probabilities"]["data"]
    assert found["prediction"]["data"] == [chance >= 0.5 for chance in chances]
    params = {"quantiles": [0.1, 0.5, 0.9]}
    found = ask(load(table, "z", "tabular", {"ignore": ["y"]}, kind="regression", params=params), row)
    assert found["quantiles"]["shape"] == [2, 3]
    assert found["quantiles"]["data"][1] == found["prediction"]["data"][0]


def test_windows_are_wide_tensors_by_the_columns_names() -> None:
    table = pa.table({"at": range(30), "sold": [float(place) for place in range(30)]})
    data = {"time": "at", "split": {"by": "time"}}
    model = load(table, "sold", "forecast", data, kind="regression", params={"window": 4, "horizon": 2})
    found = ask(model, {"name": "past.sold", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, None, 4]})
    assert (found["prediction"]["shape"], found["prediction"]["datatype"]) == ([1, 2], "FP64")


def test_each_can_be_warmed_up_and_captured() -> None:
    table = pa.table({"photo": [picture()] * 2, "y": ["a", "b"]})
    for model in (pixels(), load(table, "y", "image")):
        warm_up(model)
        assert arrow_schema(model.signature).field("output.probabilities").type.list_size == 2
