"""What a run kept is read back with the settings that were trained with; changed data is named by its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.data import add_data
from rayloop.jobs.reproduction.evidence import DataChanged, find_evidence, require_data
from rayloop.platform.errors import NotFound
from rayloop.platform.registry import ModelVersion
from rayloop.platform.state import Run
from rayloop.platform.workspace import Workspace

from ..conftest import build_project, build_table


class Registry:
    """One version of one model."""

    def version(self, model: str, number: int) -> ModelVersion:
        return ModelVersion(model, number, "mlflow-1", "", {})


@pytest.fixture
def trained(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with the record of a run on a snapshot of two files; nothing was trained."""
    (tmp_path / "data").mkdir()
    for place, name in enumerate(("first", "second")):
        pq.write_table(build_table(60, seed=place), tmp_path / f"data/{name}.parquet")
    project = build_project(data={"source": str(tmp_path / "data")}, train={"workers": 2})
    snapshot = add_data(workspace, project).snapshot
    run = Run("toy-train-1", "toy", "train", run_id="mlflow-1", epoch=4, tags={"rayloop.snapshot": snapshot.digest})
    workspace.runs.save(run)
    plan = {"epochs": 4, "learning_rate": 0.5, "seed": 7, "params": {"hidden": [3]}, "metric": "accuracy"}
    texts = {
        "project.json": project.model_dump_json(by_alias=True),
        "plan.json": json.dumps(plan),
        "witness.json": json.dumps({"epochs": [], "initial": "a"}),
        "manifest.json": snapshot.manifest.to_json().decode(),
        "environment.txt": "torch==2\n",
    }
    for name, text in texts.items():
        workspace.runs.write_text(run.key, name, text)
    workspace.__dict__["registry"] = Registry()
    return workspace


def test_the_settings_are_those_of_the_plan(trained: Workspace) -> None:
    evidence = find_evidence(trained, "toy", 1)
    train = evidence.project.train
    assert (train.epochs, train.learning_rate, train.seed, train.batch_size, train.workers) == (4, 0.5, 7, 16, 2)
    assert evidence.project.task.params == {"hidden": [3]}
    assert evidence.labels == ()
    assert require_data(trained, evidence).endswith("120 rows in 2 file(s), each with its SHA-256")


@pytest.mark.parametrize(("weights", "chosen"), [([], "none"), ([0.5, 2.0], "balanced")])
def test_classes_count_as_they_did(trained: Workspace, weights: list[float], chosen: str) -> None:
    plan = json.loads(trained.runs.text("toy-train-1", "plan.json")) | {"weights_by_class": weights}
    trained.runs.write_text("toy-train-1", "plan.json", json.dumps(plan))
    assert find_evidence(trained, "toy", 1).project.train.class_weights == chosen


def test_one_changed_cell_is_named_by_its_file(trained: Workspace) -> None:
    evidence = find_evidence(trained, "toy", 1)
    first, second = evidence.manifest.files
    path = Path(trained.store.path(second.object_name))
    table = pq.read_table(path)
    values = table.column("b").to_numpy().copy()
    values[11] += 1
    pq.write_table(table.set_column(2, "b", pa.array(values)), path)
    with pytest.raises(DataChanged) as caught:
        require_data(trained, evidence)
    assert f"second.parquet ({second.object_name}) was changed: its SHA-256 is " in str(caught.value)
    assert f"the manifest says {second.sha256[:12]}" in str(caught.value)
    assert "first.parquet" not in str(caught.value)
    assert caught.value.exit_code == 2

    Path(trained.store.path(first.object_name)).unlink()
    with pytest.raises(DataChanged, match=r"first.parquet \(objects/.*\) is gone from the store; second.parquet"):
        require_data(trained, evidence)


def test_a_manifest_of_another_snapshot_is_refused(trained: Workspace) -> None:
    trained.runs.change("toy-train-1", tags={"rayloop.snapshot": "f" * 64})
    with pytest.raises(DataChanged, match="is not that of its snapshot"):
        require_data(trained, find_evidence(trained, "toy", 1))


@pytest.mark.parametrize("name", ["project.json", "plan.json", "witness.json", "manifest.json", "environment.txt"])
def test_what_was_not_kept_is_named(trained: Workspace, name: str) -> None:
    Path(trained.store.path(f"runs/toy-train-1/texts/{name}")).unlink()
    with pytest.raises(NotFound, match=f"run toy-train-1 of toy v1 kept no {name}, so it can't be reproduced"):
        find_evidence(trained, "toy", 1)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"rayloop.resumed": "2"}, "resumed 2 time"),
        ({"rayloop.elastic": "4 -> 3", "rayloop.world": "3"}, "workers 4 -> 3; it is trained again on 3"),
        ({"rayloop.deterministic": "false"}, "not deterministic"),
        ({"rayloop.deterministic": "true"}, None),
    ],
)
def test_a_run_that_is_hard_to_repeat_is_labelled(trained: Workspace, tags: Any, words: str | None) -> None:
    trained.runs.change("toy-train-1", tags=tags)
    labels = find_evidence(trained, "toy", 1).labels
    assert (labels == ()) if words is None else (words in labels[0])


def test_a_trial_of_a_search_is_trained_as_long_as_it_was(trained: Workspace) -> None:
    trained.runs.change("toy-train-1", kind="tune", epoch=2)
    evidence = find_evidence(trained, "toy", 1)
    assert (evidence.project.train.epochs, evidence.workers, evidence.witness) == (2, 1, {})
    assert evidence.labels == ("a trial of a search; it is trained again by itself, on 1 worker(s)",)


def test_a_trial_that_can_t_be_had_again_is_labelled(trained: Workspace) -> None:
    trained.runs.change("toy-train-1", kind="tune", epoch=2)
    text = json.loads(trained.runs.text("toy-train-1", "project.json"))
    text["search"] = {"scheduler": "pbt", "space": {"learning_rate": {"uniform": [0.1, 0.2]}}}
    text["train"] |= {"schedule": "cosine", "early_stopping": {"patience": 1, "min_delta": 0.25}}
    trained.runs.write_text("toy-train-1", "project.json", json.dumps(text))
    plan = json.loads(trained.runs.text("toy-train-1", "plan.json")) | {"metric": "auc"}
    trained.runs.write_text("toy-train-1", "plan.json", json.dumps(plan))
    evidence = find_evidence(trained, "toy", 1)
    assert evidence.labels[1].startswith("of a population")
    assert evidence.labels[2] == "its cosine schedule of 4 epochs was cut off"
    assert evidence.project.metric == "auc"
    stop = evidence.project.train.early_stopping
    assert stop is not None
    assert (stop.patience, stop.min_delta) == (3, 0.25)


def test_the_last_number_of_parts_and_of_workers_counts(trained: Workspace) -> None:
    epochs = [{"epoch": 1, "sha256": "a", "accumulate": 1}, {"epoch": 2, "sha256": "b", "accumulate": 4}]
    trained.runs.write_text("toy-train-1", "witness.json", json.dumps({"epochs": epochs, "initial": "a"}))
    evidence = find_evidence(trained, "toy", 1)
    assert evidence.project.train.accumulate == 4
    assert evidence.labels == ("from some epoch on its steps were computed in more parts, for lack of memory",)
