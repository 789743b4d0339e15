"""No pickle is ever read in loading a model of ours, wherever somebody plants one."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import mlflow.pyfunc
import pytest
import torch
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.artifact import MODEL_FILE, WEIGHTS_FILE, load_artifact
from rayloop.platform.model.predictor import load_predictor
from rayloop.platform.registry import Tracker
from rayloop.platform.settings import Settings

Save = Callable[[int], tuple[Path, str]]


class Bomb:
    """Leaves a mark wherever it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "unpickled"
    yield found
    assert not found.exists()


@pytest.fixture(autouse=True)
def no_unpickling(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever unpickles fail, and torch.load with it."""
    save(2)  # the profile's kernels are compiled once, and Numba keeps its own files of them as pickles

    def refuse(*_arguments: Any, **_options: Any) -> NoReturn:
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)


def bomb(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))


def test_the_bomb_would_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pickle.loads(bomb(tmp_path / "gone off"))
    assert (tmp_path / "gone off").exists()


def test_a_sound_artifact_loads_without_unpickling(save: Save) -> None:
    folder, sha256 = save(3)
    assert load_artifact(str(folder)).sha256 == sha256


@pytest.mark.parametrize("name", ["python_model.pkl", "model.pt", "data.pkl", "code/__init__.pkl"])
def test_a_planted_pickle_is_refused_and_not_read(save: Save, mark: Path, name: str) -> None:
    folder, _ = save(4)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(bomb(mark))
    with pytest.raises(InvalidInput, match="was changed, lost or added"):
        load_artifact(str(folder))


@pytest.mark.parametrize("as_torch", [False, True])
def test_weights_that_are_a_pickle_with_the_right_hash_are_not_read(save: Save, mark: Path, as_torch: bool) -> None:
    folder, _ = save(5)
    content = bomb(mark)
    if as_torch:
        buffer = io.BytesIO()
        torch.save(Bomb(mark), buffer)
        content = buffer.getvalue()
    (folder / WEIGHTS_FILE).write_bytes(content)
    model = json.loads((folder / MODEL_FILE).read_bytes())
    model["files"][WEIGHTS_FILE] = hashlib.sha256(content).hexdigest()
    (folder / MODEL_FILE).write_text(json.dumps(model))
    with pytest.raises(Exception, match=r"(?i)header|safetensor|invalid|incomplete"):
        load_artifact(str(folder))


def test_a_description_that_names_a_pickle_is_not_followed(save: Save, mark: Path, settings: Settings) -> None:
    folder, sha256 = save(6)
    tracker = Tracker(settings, "planted", "planted-1", "train")
    uri = tracker.log_model(folder, load_artifact(str(folder)).signature, sha256)
    tracker.finish()
    (logged,) = (Path(settings.store) / "mlflow/planted").rglob("MLmodel")
    (logged.parent / "python_model.pkl").write_bytes(bomb(mark))
    loaded = mlflow.pyfunc.load_model(uri)
    assert loaded.metadata.flavors["python_function"]["loader_module"] == "rayloop.platform.model.flavor"
    assert load_predictor(str(logged.parent / "data")).signature.inputs
    assert {path.suffix for path in (logged.parent / "data").iterdir()} == {".safetensors", ".json", ".parquet"}
    assert "sha256" in logged.read_text()
