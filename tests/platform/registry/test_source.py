"""A URI leads to the files of a model: registered, by alias, logged, of a run, or in a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow.models import infer_signature
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.registry.source import ModelSource, download_model, find_model
from rayloop.platform.settings import Settings
from rayloop.platform.workspace import Workspace

NAME = "sourced"


@dataclass
class Logged:
    workspace: Workspace
    model_id: str
    run_id: str


@pytest.fixture(scope="module")
def logged(settings: Settings) -> Iterator[Logged]:
    """One model, logged in a run and registered twice; the alias `best` is on version 1."""
    mlflow.set_tracking_uri(settings.tracking_uri)

    class Plain(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.Series:
            return model_input["a"]

    frame = pd.DataFrame({"a": [1.0]})
    signature = infer_signature(frame, frame["a"])
    place = (settings.home / "artifacts").as_uri()
    experiment = mlflow.create_experiment("sources", artifact_location=place)
    with warnings.catch_warnings(), mlflow.start_run(experiment_id=experiment) as run:
        warnings.simplefilter("ignore")  # MLflow warns whoever logs a model without an example
        for _ in range(2):
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=Plain(),
                signature=signature,
                pip_requirements=["mlflow"],
                registered_model_name=NAME,
            )
    mlflow.MlflowClient().set_registered_model_alias(NAME, "best", "1")
    workspace = Workspace(settings)
    yield Logged(workspace, info.model_id, run.info.run_id)
    workspace.close()


def test_every_uri_of_mlflow_leads_to_the_files(logged: Logged, tmp_path: Path) -> None:
    uris = [
        f"models:/{NAME}/2",
        f"models:/{NAME}@best",
        f"models:/{logged.model_id}",
        f"runs:/{logged.run_id}/model",
    ]
    found = [find_model(logged.workspace, uri) for uri in uris]
    assert [source.version for source in found] == [2, 1, None, None]
    assert found[2].location == found[0].location
    assert len({source.location for source in found[:2]}) == 2
    for place, source in enumerate(found):
        folder = tmp_path / str(place)
        folder.mkdir()
        download_model(logged.workspace.settings, source, folder)
        assert (folder / "MLmodel").is_file()
        assert not (folder / "registered_model_meta").exists()  # the same model has the same files by every name


def test_what_mlflow_does_not_have_is_told(logged: Logged) -> None:
    workspace = logged.workspace
    for uri, sentence in {
        f"models:/{NAME}/9": f"model '{NAME}' has no version 9; it has 1, 2",
        "models:/nobody/1": "no model 'nobody' is registered",
        f"models:/{NAME}@worst": f"model '{NAME}' has no alias 'worst'",
        f"models:/m-{'0' * 32}": "is logged",
        "runs:/none/model": "no run 'none' is known to MLflow",
    }.items():
        with pytest.raises(NotFound, match=sentence):
            find_model(workspace, uri)


@pytest.mark.parametrize("uri", ["models:/churn", "models:/churn/latest", "models:/a/b/1", "runs:/abc", "models:/c/0"])
def test_a_uri_that_names_no_one_model_is_refused(uri: str, own_home: Path) -> None:
    with pytest.raises(InvalidInput, match=f"model '{uri}' must name a version, an alias or a run's model"):
        find_model(Workspace(Settings.load({}, home=own_home)), uri)


def test_folders_are_taken_as_they_are_and_relative_ones_from_here(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}")
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(Settings.load({}, home=own_home))
    for number, uri in enumerate(("my model", str(folder), folder.as_uri())):
        source = find_model(workspace, uri)
        assert source == ModelSource(uri, str(folder))
        target = tmp_path / f"copy-{number}"
        target.mkdir()
        download_model(workspace.settings, source, target)
        assert [path.name for path in target.iterdir()] == ["MLmodel"]
    with pytest.raises(NotFound, match=r"model 'nowhere' can't be read from .*/nowhere: "):
        download_model(workspace.settings, find_model(workspace, "nowhere"), tmp_path / "copy-9")


def test_a_scheme_that_nobody_reads_is_told(own_home: Path, tmp_path: Path) -> None:
    workspace = Workspace(Settings.load({}, home=own_home))
    with pytest.raises(NotFound, match="model 'gopher://x/y' can't be read from gopher://x/y: "):
        download_model(workspace.settings, find_model(workspace, "gopher://x/y"), tmp_path)
