"""A trained model becomes a version with an alias, and the ledger tells of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rayloop.platform.errors import NotFound
from rayloop.platform.model.artifact import load_artifact
from rayloop.platform.model.schema import Schema
from rayloop.platform.registry import ModelVersion, Registry, Tracker
from rayloop.platform.registry.registry import CHALLENGER, CHAMPION
from rayloop.platform.settings import Settings
from rayloop.platform.state import Database, Ledger


@dataclass
class Bench:
    """A registry with its ledger, and models to register."""

    registry: Registry
    ledger: Ledger
    train: Callable[[str, int], ModelVersion]

    def actions(self) -> list[tuple[str, str]]:
        return [(entry.action, entry.subject) for entry in self.ledger.entries()]


@pytest.fixture
def bench(settings: Settings, database: Database, schema: Schema, save: Callable[[int], tuple[Path, str]]) -> Bench:
    ledger = Ledger(database)
    registry = Registry(settings, ledger)

    def train(model: str, seed: int) -> ModelVersion:
        tracker = Tracker(settings, model, f"{model}-{seed}", "train")
        folder, sha256 = save(seed)
        uri = tracker.log_model(folder, schema.signature(), sha256)
        tracker.finish()
        assert load_artifact(registry.artifact_of(uri)).sha256 == sha256
        return registry.register(model, uri, tracker.run_id, {"rayloop.sha256": sha256})

    return Bench(registry, ledger, train)


def test_a_logged_model_becomes_a_version(bench: Bench) -> None:
    first, second = bench.train("churn", 1), bench.train("churn", 2)
    assert [(found.model, found.version) for found in (first, second)] == [("churn", 1), ("churn", 2)]
    assert bench.registry.versions("churn") == [first, second]
    assert bench.registry.version("churn", 2) == second
    for found in (first, second):
        assert load_artifact(found.artifact).sha256 == found.tags["rayloop.sha256"]
    assert first.tags["rayloop.sha256"] != second.tags["rayloop.sha256"]
    assert bench.actions() == [("register", "churn/1"), ("register", "churn/2")]
    assert bench.ledger.entries()[0].detail == {"run": first.run_id, "rayloop.sha256": first.tags["rayloop.sha256"]}
    assert bench.ledger.first_fault() is None


def test_a_model_lies_in_the_store_with_its_project(
    bench: Bench, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = bench.train("stored", 1)
    assert made.artifact.startswith(f"{settings.store}/mlflow/stored/models/")
    assert not (tmp_path / "mlruns").exists()
    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name("stored").experiment_id
    (logged,) = client.search_logged_models([experiment])
    assert (logged.source_run_id, logged.name, logged.status) == (made.run_id, "model", "READY")


def test_the_same_run_again_is_the_same_version(bench: Bench) -> None:
    first = bench.train("again", 1)
    same = bench.registry.register("again", "models:/other", first.run_id, {})
    assert same == first
    assert bench.actions() == [("register", "again/1")]


def test_an_alias_moves_and_the_ledger_tells(bench: Bench) -> None:
    for seed in (1, 2):
        bench.train("alias", seed)
    registry = bench.registry
    assert registry.alias("alias", CHAMPION) is None
    assert registry.alias("nobody", CHAMPION) is None
    registry.move_alias("alias", CHAMPION, 1, "first")
    registry.move_alias("alias", CHALLENGER, 2, "canary")
    registry.move_alias("alias", CHAMPION, 2, "promoted")
    registry.move_alias("alias", CHAMPION, 2, "promoted again")
    registry.move_alias("alias", CHALLENGER, None, "promoted")
    registry.move_alias("alias", CHALLENGER, None, "promoted again")
    assert registry.alias("alias", CHAMPION) == 2
    assert registry.alias("alias", CHALLENGER) is None
    moves = [entry.detail for entry in bench.ledger.entries() if entry.action == "alias"]
    assert [(move["alias"], move["before"], move["after"], move["reason"]) for move in moves] == [
        ("champion", None, 1, "first"),
        ("challenger", None, 2, "canary"),
        ("champion", 1, 2, "promoted"),
        ("challenger", 2, None, "promoted"),
    ]


def test_an_unknown_version_names_the_known_ones(bench: Bench) -> None:
    for seed in (1, 2):
        bench.train("known", seed)
    before = bench.actions()
    with pytest.raises(NotFound) as error:
        bench.registry.version("known", 7)
    assert str(error.value) == "model 'known' has no version 7; it has 1, 2"
    with pytest.raises(NotFound, match="model 'known' has no version 7; it has 1, 2"):
        bench.registry.move_alias("known", CHAMPION, 7, "a slip")
    assert bench.actions() == before
    assert bench.registry.alias("known", CHAMPION) is None
    with pytest.raises(NotFound, match="no model 'nobody' is registered"):
        bench.registry.version("nobody", 1)
    assert bench.registry.versions("nobody") == []


def test_tags_are_set(bench: Bench) -> None:
    made = bench.train("tagged", 1)
    bench.registry.tag("tagged", 1, {"rayloop.validation": "passed"})
    assert bench.registry.version("tagged", 1).tags == {**made.tags, "rayloop.validation": "passed"}
