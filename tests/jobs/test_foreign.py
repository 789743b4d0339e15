"""Deploying any model by hand: its files are taken in once, and its endpoint lives without a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow.models import infer_signature
from rayloop.jobs import foreign, serving
from rayloop.jobs.foreign import Room, deploy_model
from rayloop.jobs.terminal import show_models, show_versions
from rayloop.platform.errors import Conflict, InvalidInput, NotFound
from rayloop.platform.model.folder import folder_sha256
from rayloop.platform.registry.source import ModelSource
from rayloop.platform.workspace import Workspace
from rayloop.serve.keeper import desired_traffic

from .test_serving import Registry, Serve, registry, serve

__all__ = ["registry", "serve"]  # fixtures

NAME = "iris"
FRAME = pd.DataFrame({"a": [1.0]})

pytestmark = pytest.mark.filterwarnings("ignore:.*(input example|[Tt]ype hint).*:UserWarning")


def save_model(folder: Path, factor: float, signature: Any = None) -> Path:
    class Times(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.Series:
            return model_input["a"] * factor

    signature = signature or infer_signature(FRAME, FRAME["a"])
    mlflow.pyfunc.save_model(str(folder), python_model=Times(), signature=signature, pip_requirements=["mlflow"])
    return folder


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [save_model(tmp_path / f"times-{factor}", factor) for factor in (2, 3)]


def deploy(workspace: Workspace, model: Path | str, version: int | None = None, **room: Any) -> int:
    return deploy_model(workspace, NAME, str(model), version, lambda _: None, Room(**room)).version


def shares(workspace: Workspace) -> dict[int, int]:
    return {variant.version: variant.weight for variant in workspace.endpoints.split(NAME).variants}


def test_a_model_is_taken_into_the_store_and_brought_up(workspace: Workspace, serve: Serve, models: list[Path]) -> None:
    assert deploy(workspace, models[0], replicas=2, cpus=1.5) == 1
    assert shares(workspace) == {1: 10_000}
    (found,) = workspace.endpoints.deployments(NAME)
    sha256 = folder_sha256(models[0])
    assert found.artifact == workspace.store.uri(f"models/{sha256}")
    assert found.origin == {"model": str(models[0]), "source": str(models[0]), "sha256": sha256}
    assert folder_sha256(Path(found.artifact)) == sha256
    asked = {"endpoint": NAME, "version": 1, "artifact": found.artifact, "origin": found.origin}
    assert serve.applications["iris--v1"]["args"] == {**asked, "cpus": 1.5, "gpus": 0.0}
    assert serve.applications["iris--v1"]["deployments"] == [{"name": "Version", "num_replicas": 2}]
    (entry,) = [entry for entry in workspace.ledger.entries() if entry.action == "deploy"]
    assert (entry.subject, entry.detail) == ("iris/1", {"artifact": found.artifact, **found.origin})
    assert desired_traffic(workspace).versions == {NAME: [1]}


def test_split_rollback_and_undeploy_need_no_project(
    workspace: Workspace, serve: Serve, models: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [deploy(workspace, model) for model in models] == [1, 2]
    assert shares(workspace) == {1: 10_000}
    assert serving.set_split(workspace, NAME, ["1=70", "2=30"], "try").revision == 2
    assert shares(workspace) == {1: 7000, 2: 3000}
    show_models(workspace, NAME)
    printed = capsys.readouterr().out
    assert "30 %" in printed
    assert folder_sha256(models[1])[:12] in printed
    serving.set_split(workspace, NAME, ["2=100"], "good")
    assert shares(workspace) == {2: 10_000}
    assert serving.roll_back(workspace, NAME, "bad").variants[0].version == 1
    serving.undeploy(workspace, NAME, 2)
    assert set(serve.applications) == {"iris--v1"}
    assert deploy(workspace, models[1]) == 3  # 2 has been: its captured answers stay its own


def test_numbers_are_the_registered_ones_or_the_next(
    workspace: Workspace, serve: Serve, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"models:/iris/4": models[0], "models:/other/4": models[1]}
    monkeypatch.setattr(foreign, "find_model", lambda _, uri: ModelSource(uri, str(known[uri]), 4))
    assert deploy(workspace, "models:/iris/4") == 4
    assert deploy(workspace, "models:/iris/4", version=4, replicas=3) == 4  # the same one, with more room
    assert workspace.endpoints.deployments(NAME)[0].options["replicas"] == 3
    with pytest.raises(InvalidInput, match="--version 5 is not the number of models:/iris/4, which is version 4"):
        deploy(workspace, "models:/iris/4", version=5)
    with pytest.raises(Conflict, match="iris v4 is another model"):
        deploy(workspace, "models:/other/4")
    monkeypatch.setattr(foreign, "find_model", lambda _, uri: ModelSource(uri, uri))
    assert deploy(workspace, models[0]) == 4  # by another name, the same files
    assert deploy(workspace, models[1]) == 5
    assert deploy(workspace, models[1], version=9) == 9


def test_projects_and_models_keep_apart(
    workspace: Workspace, registry: Registry, serve: Serve, models: list[Path]
) -> None:
    with pytest.raises(Conflict, match="endpoint 'toy' is a project's"):
        deploy_model(workspace, "toy", str(models[0]), None, print)
    deploy(workspace, models[0])
    serving.deploy(workspace, "toy", 1, lambda _: None)
    with pytest.raises(NotFound, match="endpoint 'iris' serves models given by --model, and no project"):
        serving.project_of(workspace, NAME)
    assert registry.aliases == {"champion": 1}
    assert set(serve.applications) == {"iris--v1", "toy--v1"}


def test_a_projects_table_shows_its_own_traffic_alone(
    workspace: Workspace, registry: Registry, serve: Serve, models: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(workspace, models[0], version=2)
    serving.deploy(workspace, "toy", 1, lambda _: None)
    show_versions(workspace, "toy")
    assert capsys.readouterr().out.count("100 %") == 1


def test_what_cannot_be_served_is_refused_before_anything_changes(
    workspace: Workspace, serve: Serve, tmp_path: Path
) -> None:
    dated = infer_signature(pd.DataFrame({"at": pd.to_datetime(["2026-01-01"])}))
    with pytest.raises(InvalidInput, match="input 'at' has the MLflow type datetime"):
        deploy(workspace, save_model(tmp_path / "dated", 1, dated))
    with pytest.raises(NotFound, match="can't be read from"):
        deploy(workspace, tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="--cpus is -1"):
        deploy(workspace, tmp_path, cpus=-1)
    with pytest.raises(InvalidInput, match="--replicas is 0"):
        deploy(workspace, tmp_path, replicas=0)
    with pytest.raises(InvalidInput, match="must not contain '--v'"):
        deploy_model(workspace, "a--v1", str(tmp_path), None, print)
    with pytest.raises(InvalidInput, match="version 1000000000 of 'iris' must lie in"):
        deploy(workspace, tmp_path, version=1_000_000_000)
    assert workspace.endpoints.deployments() == []
    assert workspace.ledger.entries() == []
    assert not (tmp_path / ".rayloop/store/models").exists()
    assert serve.applications is None
