"""A model as ONNX answers real rows alike, in batches of any size, and is part of what the hash covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rayloop.jobs.training import export
from rayloop.jobs.training.export import MOST_DIFFERENCE, ONNX_FILE, ExportFailed, export_onnx, require_exports
from rayloop.jobs.training.loop import Plan, build_module
from rayloop.platform.errors import InvalidInput, Unavailable
from rayloop.platform.model.artifact import LoadedModel, load_artifact, save_artifact
from rayloop.platform.model.schema import table_columns
from rayloop.platform.stats import fit_binnings, profile_table
from torch import nn

from .conftest import TASK, Toy


def model_of(toy: Toy, task: Any = TASK) -> LoadedModel:
    module = build_module(TASK, toy.schema, Plan.of(toy.project)).eval()
    return LoadedModel(toy.schema, task, module, toy.schema.signature(), "")


def test_a_missing_package_is_told_before_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    require_exports(())
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())
    require_exports(())
    with pytest.raises(Unavailable, match=r"onnxscript is not installed: `pip install 'rayloop\[onnx\]'`"):
        require_exports(("onnx",))


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_it_answers_real_rows_alike_and_the_artifact_holds_it(kind: str, make_toy: type[Toy], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    toy = make_toy.make(kind=kind)
    model = model_of(toy)
    folder = tmp_path / "artifact"
    assert 0 <= export_onnx(model, toy.rows.inputs, folder) <= MOST_DIFFERENCE
    assert str(Path.cwd()).encode() not in (folder / ONNX_FILE).read_bytes()
    profile = profile_table(toy.table, fit_binnings(toy.table))
    save_artifact(folder, model.module, toy.schema, "tabular", toy.project.task.params, profile)
    loaded = load_artifact(str(folder))
    columns = table_columns(toy.table.slice(0, 5), [feature.name for feature in toy.schema.features])
    rows = {name: tensor.numpy() for name, tensor in TASK.encode(toy.schema, columns).items()}
    given = onnxruntime.InferenceSession(str(folder / ONNX_FILE)).run(None, rows)
    name = "probabilities" if kind == "classification" else "prediction"
    assert given[0] == pytest.approx(loaded.predict(columns)[name], rel=1e-5, abs=1e-5)

    again = tmp_path / "again"
    export_onnx(model, toy.rows.inputs, again)
    assert (again / ONNX_FILE).read_bytes() == (folder / ONNX_FILE).read_bytes()
    (folder / ONNX_FILE).write_bytes((folder / ONNX_FILE).read_bytes() + b"\0")
    with pytest.raises(InvalidInput, match=r"onnx/model.onnx was changed"):
        load_artifact(str(folder))


def test_a_model_that_answers_otherwise_is_refused(
    make_toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    toy = make_toy.make()
    model = model_of(toy)
    real = export._to_onnx

    def other(task: Any, module: nn.Module, rows: Any, outputs: Any) -> bytes:
        torch.manual_seed(9)
        return real(task, build_module(TASK, toy.schema, Plan.of(toy.project)).eval().apply(_jolt), rows, outputs)

    monkeypatch.setattr(export, "_to_onnx", other)
    with pytest.raises(ExportFailed, match="answers 200 real rows otherwise"):
        export_onnx(model, toy.rows.inputs, tmp_path)
    assert not (tmp_path / ONNX_FILE).exists()


def _jolt(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight)


def test_what_can_t_be_written_is_one_sentence(make_toy: type[Toy], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")

    class Looks:
        def predict(self, module: nn.Module, inputs: Any) -> dict[str, torch.Tensor]:
            scores = module(inputs)
            return {"probabilities": scores if float(scores.sum()) > 0 else -scores}

    toy = make_toy.make()
    with pytest.raises(ExportFailed, match="the module can't be written as ONNX: ") as caught:
        export_onnx(model_of(toy, Looks()), toy.rows.inputs, tmp_path)
    assert "\n" not in str(caught.value)
