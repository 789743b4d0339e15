"""Which loader a folder gets: ours as ever, a foreign one only where its very bytes were consented to."""

from __future__ import annotations

import gc
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import Model, infer_signature
from pyarrow import fs
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.model import flavor
from rayloop.platform.model.artifact import LoadedModel, load_artifact, save_artifact
from rayloop.platform.model.folder import OWN_FLAVOR, fetch_folder, folder_sha256, own_artifact
from rayloop.platform.model.foreign import ForeignModel
from rayloop.platform.model.predictor import load_predictor
from rayloop.platform.model.schema import Schema
from rayloop.platform.stats import fit_binnings, profile_table
from torch import nn

# MLflow warns whoever saves a Python object, or one without an example.
pytestmark = pytest.mark.filterwarnings("ignore:.*(input example|[Tt]ype hint).*:UserWarning")

PARAMS = {"hidden": [8], "dropout": 0.5, "embedding": 4}
FRAME = pd.DataFrame({"a": [1.0]})


class Plain(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.Series:
        return model_input["a"] * 2


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "foreign"
    signature = infer_signature(FRAME, pd.Series([1.0]))
    mlflow.pyfunc.save_model(str(folder), python_model=Plain(), signature=signature, pip_requirements=["mlflow"])
    return folder


@pytest.fixture
def ours(
    tmp_path: Path, schema: Schema, make_module: Callable[..., nn.Module], make_table: Callable[..., pa.Table]
) -> Path:
    """Our own artifact, logged as MLflow has it."""
    table = make_table()
    profile = profile_table(table, fit_binnings(table))
    sha256 = save_artifact(tmp_path / "artifact", make_module(schema), schema, "tabular", PARAMS, profile)
    flavor.save_model(str(tmp_path / "ours"), Model(), str(tmp_path / "artifact"), schema.signature(), sha256)
    return tmp_path / "ours"


def test_our_own_artifacts_load_as_ever_with_consent_and_without(ours: Path) -> None:
    sha256 = load_artifact(str(ours / "data")).sha256
    for folder, consent in ((ours / "data", None), (ours / "data", folder_sha256(ours / "data"))):
        loaded = load_predictor(str(folder), consent)
        assert isinstance(loaded, LoadedModel)
        assert loaded.sha256 == sha256
    native = load_predictor(str(ours), folder_sha256(ours))  # by its flavor, not as a pyfunc
    assert isinstance(native, LoadedModel)
    assert (native.sha256, native.example_source) == (sha256, "trained")
    assert flavor.FLAVOR == OWN_FLAVOR


def test_a_foreign_model_loads_where_its_bytes_were_asked_for(foreign: Path) -> None:
    loaded = load_predictor(str(foreign), folder_sha256(foreign))
    assert isinstance(loaded, ForeignModel)
    assert loaded.predict({"a": FRAME["a"].to_numpy()})["prediction"].tolist() == [2.0]
    again = load_predictor(foreign.as_uri(), folder_sha256(foreign))
    assert again.signature == loaded.signature


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("import sys; sys.trap = 'sprung'",)


def test_nothing_is_unpickled_without_consent_or_with_other_bytes(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "trap", "set", raising=False)
    consent = folder_sha256(foreign)
    (foreign / "python_model.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(NotFound, match="no rayloop model at"):
        load_predictor(str(foreign))
    with pytest.raises(InvalidInput, match="was changed since it was deployed"):
        load_predictor(str(foreign), consent)
    assert sys.trap == "set"  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match="the model can't be loaded here"):
        load_predictor(str(foreign), folder_sha256(foreign))
    assert sys.trap == "sprung"  # type: ignore[attr-defined]


def test_the_hash_covers_names_and_bytes_and_no_bytecode(foreign: Path) -> None:
    before = folder_sha256(foreign)
    (foreign / "__pycache__").mkdir()
    (foreign / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert folder_sha256(foreign) == before
    (foreign / "more.txt").write_text("")
    added = folder_sha256(foreign)
    (foreign / "more.txt").rename(foreign / "less.txt")
    assert len({before, added, folder_sha256(foreign)}) == 3


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"neither MLmodel nor model\.json is there"):
        fetch_folder(str(tmp_path))
    (tmp_path / "MLmodel").write_text("flavors: 7")
    with pytest.raises(InvalidInput, match="MLmodel is damaged"):
        own_artifact(tmp_path)


def test_a_copy_goes_with_the_model(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = {"s3://bucket/model": foreign}
    copied: list[Path] = []

    def copy_files(source: str, target: str) -> None:
        shutil.copytree(bucket[source], target, dirs_exist_ok=True)
        copied.append(Path(target))

    monkeypatch.setattr(fs, "copy_files", copy_files)
    model = load_predictor("s3://bucket/model", folder_sha256(foreign))
    assert (copied[0] / "MLmodel").exists()  # a model may read its files as late as at a request
    del model
    gc.collect()
    assert not copied[0].exists()
    assert foreign.exists()
