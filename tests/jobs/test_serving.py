"""Deploying and splitting by hand: checked first, and what cannot be brought up leaves things as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from rayloop.jobs import serving
from rayloop.jobs.promotion import serve_options
from rayloop.platform.errors import Conflict, InvalidInput, NotFound, Unavailable
from rayloop.platform.registry import ModelVersion
from rayloop.platform.registry.registry import CHAMPION
from rayloop.platform.state import Deployment
from rayloop.platform.traffic import Shadow
from rayloop.platform.workspace import Workspace
from rayloop.serve import versions
from rayloop.serve.versions import DeployFailed, deploy_version, serve_config

from .conftest import build_project

NAME = "toy"


class Registry:
    """Three versions and an alias, without MLflow."""

    def __init__(self) -> None:
        self.aliases: dict[str, int | None] = {}

    def versions(self, model: str) -> list[ModelVersion]:
        return [ModelVersion(model, number, f"run-{number}", f"/models/{number}", {}) for number in (1, 2, 3)]

    def version(self, model: str, number: int) -> ModelVersion:
        found = {version.version: version for version in self.versions(model)}
        if number not in found:
            raise NotFound(f"model {model!r} has no version {number}")
        return found[number]

    def alias(self, model: str, alias: str) -> int | None:
        return self.aliases.get(alias)

    def move_alias(self, model: str, alias: str, version: int | None, reason: str) -> None:
        self.aliases[alias] = version


@dataclass
class Serve:
    """Ray Serve: takes every set of applications, and brings all up but the broken ones."""

    broken: frozenset[str] = frozenset()
    applications: Mapping[str, Any] = None  # type: ignore[assignment]
    is_away: bool = False

    def apply(self, workspace: Workspace) -> None:
        if self.is_away:
            raise Unavailable("no Ray cluster answers")
        content = versions.serve_config(workspace.settings, workspace.endpoints.deployments())
        self.applications = {found["name"]: found for found in content["applications"]}

    def wait(self, workspace: Workspace, wanted: Deployment) -> None:
        if f"{wanted.endpoint}--v{wanted.version}" in self.broken:
            raise DeployFailed(f"{wanted.endpoint} v{wanted.version} can't be served")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    found = Serve()
    monkeypatch.setattr(versions, "apply_deployments", found.apply)
    monkeypatch.setattr(versions, "_wait_until_ready", found.wait)
    return found


@pytest.fixture
def registry(workspace: Workspace, known: Any) -> Registry:
    """The registry; versions 1 and 2 passed their gates, 3 never was validated."""
    found = Registry()
    workspace.__dict__["registry"] = found
    workspace.verdicts.add(NAME, 1, True, {})
    workspace.verdicts.add(NAME, 2, True, {})
    return found


def deploy(workspace: Workspace, version: int | None = None, force: str | None = None) -> list[str]:
    said: list[str] = []
    serving.deploy(workspace, NAME, version, said.append, force)
    return said


def shares(workspace: Workspace) -> dict[int, int]:
    return {variant.version: variant.weight for variant in workspace.endpoints.split(NAME).variants}


def test_the_first_version_gets_all_traffic_and_the_next_none(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    assert "champion" in deploy(workspace, 1)[-1]
    assert "without traffic" in deploy(workspace, 2)[-1]
    assert shares(workspace) == {1: 10_000}
    assert registry.aliases == {CHAMPION: 1}
    assert set(serve.applications) == {"toy--v1", "toy--v2"}


def test_a_version_without_a_passed_verdict_is_refused_unless_forced(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    with pytest.raises(Conflict, match="toy v3 was never validated"):
        deploy(workspace)
    workspace.verdicts.add(NAME, 2, False, {})  # the newest verdict counts
    with pytest.raises(Conflict, match="toy v2 broke a gate"):
        deploy(workspace, 2)
    assert workspace.endpoints.deployments() == []
    deploy(workspace, 3, force="an emergency")
    forced = [entry for entry in workspace.ledger.entries() if entry.action == "force-deploy"]
    assert [(entry.subject, entry.detail["reason"]) for entry in forced] == [("toy/3", "an emergency")]


def test_unknown_names_and_versions_are_told(workspace: Workspace, registry: Registry, serve: Serve) -> None:
    with pytest.raises(NotFound, match="known: toy"):
        serving.deploy(workspace, "nope", None, print)
    with pytest.raises(NotFound, match="no version 9"):
        deploy(workspace, 9)
    with pytest.raises(NotFound, match="not deployed"):
        serving.undeploy(workspace, NAME, 1)


def test_a_version_that_cannot_be_brought_up_leaves_nothing(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    deploy(workspace, 1)
    serve.broken = frozenset({"toy--v2"})
    with pytest.raises(DeployFailed):
        deploy(workspace, 2)
    assert set(serve.applications) == {"toy--v1"}
    assert shares(workspace) == {1: 10_000}


def test_a_version_in_traffic_whose_new_options_fail_serves_on_with_the_old_ones(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    deploy(workspace, 1)
    before = workspace.endpoints.deployments(NAME)
    serve.broken = frozenset({"toy--v1"})
    with pytest.raises(DeployFailed):
        deploy_version(workspace, Deployment(NAME, 1, before[0].artifact, {**before[0].options, "cpus": 64}))
    assert workspace.endpoints.deployments(NAME) == before
    assert serve.applications["toy--v1"]["args"]["cpus"] == before[0].options["cpus"]


def test_the_same_version_again_stays_up_where_it_does_not_answer(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    deploy(workspace, 1)
    serve.broken = frozenset({"toy--v1"})
    with pytest.raises(DeployFailed):
        deploy(workspace, 1)
    assert set(serve.applications) == {"toy--v1"}


def test_a_split_is_checked_and_the_version_with_all_of_it_is_the_champion(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    deploy(workspace, 1)
    deploy(workspace, 2)
    assert serving.set_split(workspace, NAME, ["1=90", "2=10"], "try").revision == 2
    assert registry.aliases == {CHAMPION: 1}
    serving.set_split(workspace, NAME, ["1=0", "2=100"], "good")
    assert shares(workspace) == {2: 10_000}
    assert registry.aliases[CHAMPION] == 2
    assert serving.roll_back(workspace, NAME, "bad").variants[0].version == 1
    assert registry.aliases[CHAMPION] == 1


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ([], InvalidInput),
        (["1"], InvalidInput),
        (["1=50", "2=40"], InvalidInput),
        (["1=50", "1=50"], InvalidInput),
        (["1=150"], InvalidInput),
        (["3=100"], Conflict),
        (["1=50", "3=50"], Conflict),
    ],
)
def test_a_wrong_split_changes_nothing(
    workspace: Workspace, registry: Registry, serve: Serve, given: list[str], error: type[Exception]
) -> None:
    deploy(workspace, 1)
    deploy(workspace, 2)
    entries = len(workspace.ledger.entries())
    with pytest.raises(error):
        serving.set_split(workspace, NAME, given, "wrong")
    assert (shares(workspace), registry.aliases) == ({1: 10_000}, {CHAMPION: 1})
    assert len(workspace.ledger.entries()) == entries


def test_a_version_with_traffic_is_not_taken_down(workspace: Workspace, registry: Registry, serve: Serve) -> None:
    deploy(workspace, 1)
    with pytest.raises(Conflict, match="still has traffic"):
        serving.undeploy(workspace, NAME, 1)
    with pytest.raises(Conflict, match="roll back to"):
        serving.roll_back(workspace, NAME, "bad")


def test_shadows_are_named_ended_and_end_with_traffic(workspace: Workspace, registry: Registry, serve: Serve) -> None:
    deploy(workspace, 1)
    deploy(workspace, 2)
    assert serving.set_shadows(workspace, NAME, ["2=20"], "look").shadows == (Shadow(2, 2_000),)
    with pytest.raises(Conflict, match="toy version 2 is a shadow"):
        serving.undeploy(workspace, NAME, 2)
    assert serving.set_split(workspace, NAME, ["1=50", "2=50"], "try").shadows == ()
    serving.set_split(workspace, NAME, ["1=100"], "back")
    assert serving.set_shadows(workspace, NAME, ["2"], "look again").shadows == (Shadow(2, 10_000),)
    assert serving.set_shadows(workspace, NAME, [], "seen", end=True).shadows == ()
    serving.undeploy(workspace, NAME, 2)


def test_wrong_shadows_are_refused_and_change_nothing(workspace: Workspace, registry: Registry, serve: Serve) -> None:
    deploy(workspace, 1)
    deploy(workspace, 2)
    before = workspace.endpoints.split(NAME)
    for given, end, words in [
        ([], False, "name at least one version"),
        (["2"], True, "or else --none"),
        (["2=x"], False, "must be VERSION=PERCENT"),
        (["2", "2=5"], False, "name a version twice"),
        (["2=0"], False, "must lie in 0.01..100 %"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            serving.set_shadows(workspace, NAME, given, "wrong", end=end)
    with pytest.raises(Conflict, match="toy version 1 has traffic itself"):
        serving.set_shadows(workspace, NAME, ["1"], "wrong")
    with pytest.raises(Conflict, match="toy version 3 is not deployed"):
        serving.set_shadows(workspace, NAME, ["3"], "wrong")
    assert workspace.endpoints.split(NAME) == before


def test_a_version_gets_another_number_of_replicas_and_the_same_arguments(
    workspace: Workspace, registry: Registry, serve: Serve
) -> None:
    deploy(workspace, 1)
    before = serve.applications["toy--v1"]
    assert before["deployments"] == [{"name": "Version", "num_replicas": 1}]
    serving.scale_version(workspace, NAME, 1, 3)
    after = serve.applications["toy--v1"]
    assert after["deployments"] == [{"name": "Version", "num_replicas": 3}]
    assert after["args"] == before["args"]
    deploy(workspace, 1)  # as the project file says
    assert serve.applications["toy--v1"] == before


@pytest.mark.parametrize("replicas", [-1, 0, 1_001])
def test_a_number_out_of_range_changes_nothing(
    workspace: Workspace, registry: Registry, serve: Serve, replicas: int
) -> None:
    deploy(workspace, 1)
    with pytest.raises(InvalidInput, match=f"{replicas} replicas: it must be a number from 1 to 1,000"):
        serving.scale_version(workspace, NAME, 1, replicas)
    with pytest.raises(NotFound, match="toy version 2 is not deployed"):
        serving.scale_version(workspace, NAME, 2, 1)
    assert serve.applications["toy--v1"]["deployments"][0]["num_replicas"] == 1


def test_without_a_cluster_the_number_stays_as_it_was(workspace: Workspace, registry: Registry, serve: Serve) -> None:
    deploy(workspace, 1)
    before = workspace.endpoints.deployments(NAME)
    serve.is_away = True
    with pytest.raises(Unavailable):
        serving.scale_version(workspace, NAME, 1, 3)
    assert workspace.endpoints.deployments(NAME) == before


def test_every_option_of_the_project_reaches_serve(workspace: Workspace, registry: Registry, serve: Serve) -> None:
    chosen = {
        "autoscale": {"min": 0, "max": 4, "idle_to_zero_s": 60},
        "gpus": 0.25,
        "max_batch_rows": 64,
        "batch_wait_ms": 2,
        "max_queue": 500,
        "request_timeout_s": 10,
        "capture": {"sample": 0.5, "flush_rows": 10},
        "compile": True,
        "cuda_graphs": True,
    }
    project = build_project(serve=chosen)
    application = serve_config(workspace.settings, [Deployment(NAME, 1, "/models/1", serve_options(project))])
    (found,) = application["applications"]
    (deployment,) = found["deployments"]
    assert deployment["num_replicas"] == "auto"
    assert deployment["autoscaling_config"]["min_replicas"] == 0
    assert deployment["autoscaling_config"]["max_replicas"] == 4
    named = chosen.keys() - {"autoscale", "capture"}
    assert {name: found["args"][name] for name in named} == {name: chosen[name] for name in named}
    assert found["args"]["capture"] == {"sample": 0.5, "flush_rows": 10, "flush_seconds": 0.5}
