"""An artifact answers as the module did, byte for byte what was saved, and holds no pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.model.artifact import LoadedModel, load_artifact, load_profile, load_schema, save_artifact
from rayloop.platform.model.schema import Feature, Schema, Target, table_columns
from rayloop.platform.model.tabular import TabularTask
from rayloop.platform.stats import Profile, fit_binnings, profile_table
from torch import nn

PARAMS = {"hidden": [8], "dropout": 0.5, "embedding": 4}
MakeModule = Callable[..., nn.Module]


@pytest.fixture
def profile(make_table: Callable[..., pa.Table]) -> Profile:
    return profile_table(make_table(), fit_binnings(make_table()))


@pytest.fixture
def folder(tmp_path: Path, schema: Schema, make_module: MakeModule, profile: Profile) -> Path:
    save_artifact(tmp_path / "artifact", make_module(schema), schema, "tabular", PARAMS, profile)
    return tmp_path / "artifact"


def test_a_loaded_model_answers_bit_for_bit(
    folder: Path, schema: Schema, make_module: MakeModule, make_table: Callable[..., pa.Table]
) -> None:
    columns = table_columns(make_table(50, seed=9), ["age", "income", "city"])
    saved = LoadedModel(schema, TabularTask(), make_module(schema), schema.signature(), "").predict(columns)
    for source in (str(folder), folder.as_uri()):
        loaded = load_artifact(source)
        assert not loaded.module.training
        found = loaded.predict(columns)
        assert found["probabilities"].dtype == np.float32
        assert found["probabilities"].tobytes() == saved["probabilities"].tobytes()
        assert found["prediction"].tolist() == saved["prediction"].tolist()
        assert loaded.schema == schema
        assert loaded.signature == schema.signature()


@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        (Target("label", "INT64", (3, 7)), np.int64),
        (Target("label", "INT32", (3, 7)), np.int32),
        (Target("label", "BOOL", (False, True)), np.bool_),
        (Target("label", "BYTES", ("no", "yes")), object),
        (Target("label", "FP64", mean=5.0, std=2.0), np.float64),
    ],
)
def test_answers_have_the_type_of_the_signature(make_module: MakeModule, target: Target, dtype: type) -> None:
    schema = Schema((Feature("age", "numeric", "FP64"),), target)
    found = LoadedModel(schema, TabularTask(), make_module(schema), schema.signature(), "").predict(
        {"age": np.arange(9.0)}
    )
    assert found["prediction"].dtype == np.dtype(dtype)
    if target.is_classes:
        best = found["probabilities"].argmax(axis=1)
        assert found["prediction"].tolist() == [target.classes[place] for place in best]


def test_the_hash_is_that_of_the_weights_and_the_rest(
    tmp_path: Path, schema: Schema, make_module: MakeModule, profile: Profile
) -> None:
    def save(name: str, seed: int = 0, params: dict[str, object] | None = None) -> str:
        module = make_module(schema, seed)
        return save_artifact(tmp_path / name, module, schema, "tabular", params or PARAMS, profile)

    first, again = save("first"), save("again")
    assert first == again == load_artifact(str(tmp_path / "first")).sha256
    for name in ("model.json", "model.safetensors", "profile.parquet"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert len({first, save("other", seed=1), save("params", params={**PARAMS, "dropout": 0.1})}) == 3


def test_a_changed_byte_in_any_file_is_refused(folder: Path) -> None:
    for name in ("model.safetensors", "profile.parquet"):
        path = folder / name
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(InvalidInput) as error:
                load_artifact(str(folder))
            assert str(error.value) == f"{folder}/{name} was changed, lost or added after the model was saved"
        path.write_bytes(whole)
    load_artifact(str(folder))


def test_a_lost_and_an_added_file_are_refused(folder: Path) -> None:
    (folder / "code").mkdir()
    added = folder / "code" / "torch.py"
    added.write_text("raise SystemExit")
    with pytest.raises(InvalidInput, match=r"code/torch.py was changed, lost or added"):
        load_artifact(str(folder))
    added.unlink()
    (folder / "profile.parquet").unlink()
    with pytest.raises(InvalidInput, match=r"profile.parquet was changed, lost or added"):
        load_artifact(str(folder))
    with pytest.raises(NotFound, match=r"no profile.parquet at "):
        load_profile(str(folder))


@pytest.mark.parametrize("lost", [None, "format", "files", "task", "params", "schema"])
def test_a_damaged_description_is_refused(folder: Path, lost: str | None) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_bytes())
    if lost is not None:
        del content[lost]
    path.write_text(json.dumps(content)[: None if lost else -9])
    if lost == "format":
        assert load_artifact(str(folder)).sha256
        return
    with pytest.raises(InvalidInput, match=r"model.json is damaged"):
        load_artifact(str(folder))


def test_a_changed_description_has_another_hash(folder: Path) -> None:
    before = load_artifact(str(folder)).sha256
    path = folder / "model.json"
    path.write_bytes(path.read_bytes().replace(b'"dropout": 0.5', b'"dropout": 0.4'))
    assert load_artifact(str(folder)).sha256 != before


def test_nothing_in_an_artifact_is_a_pickle(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["model.json", "model.safetensors", "profile.parquet"]
    for path in files:
        assert not zipfile.is_zipfile(path)
        assert path.read_bytes()[:1] != b"\x80"
    header_bytes = int.from_bytes((folder / "model.safetensors").read_bytes()[:8], "little")
    json.loads((folder / "model.safetensors").read_bytes()[8 : 8 + header_bytes])


def test_profile_and_schema_are_read_without_weights(folder: Path, schema: Schema, profile: Profile) -> None:
    (folder / "model.safetensors").unlink()
    assert load_profile(str(folder)) == profile
    assert load_schema(str(folder)) == schema


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    for read in (load_artifact, load_profile, load_schema):
        with pytest.raises(NotFound) as error:
            read(str(tmp_path / "none"))
        assert str(error.value) == f"no rayloop model at {tmp_path}/none"


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight


def test_tied_weights_are_saved(tmp_path: Path, schema: Schema, profile: Profile) -> None:
    module = Tied()
    save_artifact(tmp_path / "artifact", module, schema, "tabular", {}, profile)
    from safetensors.torch import load_file

    weights = load_file(str(tmp_path / "artifact" / "model.safetensors"))
    assert torch.equal(weights["first.weight"], weights["second.weight"])
    Tied().load_state_dict(weights)


@pytest.mark.usefixtures("own_imports")
class TestOwnTask:
    """A user's task takes its code along."""

    @pytest.fixture
    def saved(
        self,
        tmp_path: Path,
        schema: Schema,
        profile: Profile,
        write_task: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> Callable[[str, float], Path]:
        scratch = tmp_path / "tmp"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))

        def save(name: str, value: float) -> Path:
            code = write_task(f"{name}-project", value)
            (code / "rows.parquet").write_bytes(b"data")
            (code / ".git").mkdir()
            (code / "model.json").write_text("{}")
            torch.manual_seed(0)
            folder = tmp_path / name
            save_artifact(folder, nn.Linear(1, 2), schema, "owntask:Own", {}, profile, code)
            return folder

        return save

    def test_the_code_is_that_of_the_version(self, saved: Callable[[str, float], Path]) -> None:
        sources = {name: saved(name, value) for name, value in (("one", 0.0), ("two", 5.0))}
        columns = {"age": np.zeros(3)}
        for name in ("one", "two", "one"):
            task: object = load_artifact(str(sources[name])).task
            assert task.value() == {"one": 0.0, "two": 5.0}[name]  # type: ignore[attr-defined]
        assert load_artifact(str(sources["one"])).predict(columns)["probabilities"].shape == (3, 2)

    def test_data_and_hidden_files_stay_behind(self, saved: Callable[[str, float], Path]) -> None:
        code = saved("one", 0.0) / "code"
        assert sorted(path.name for path in code.iterdir()) == ["model.json", "owntask.py", "owntask_numbers.py"]

    @pytest.mark.parametrize("name", ["owntask.py", "model.json"])
    def test_changed_code_is_refused(self, saved: Callable[[str, float], Path], name: str) -> None:
        folder = saved("one", 0.0)
        with (folder / "code" / name).open("a") as file:
            file.write(" ")
        with pytest.raises(InvalidInput, match=f"code/{name} was changed"):
            load_artifact(str(folder))

    def test_kept_code_that_was_swept_or_changed_is_not_used(
        self, saved: Callable[[str, float], Path], tmp_path: Path
    ) -> None:
        folder, other = saved("one", 0.0), saved("two", 5.0)
        load_artifact(str(folder))
        (kept,) = (tmp_path / "tmp").glob("rayloop-code-*")
        for spoil in (lambda path: path.write_text("VALUE = 666.0\n"), lambda path: path.unlink()):
            load_artifact(str(other))  # so that the modules of the first are forgotten
            spoil(kept / "owntask_numbers.py")
            assert load_artifact(str(folder)).task.value() == 0.0  # type: ignore[attr-defined]
