"""Whatever a table holds, a training of it ends in a model that answers, or in one sentence before it starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.training.artifact import reference_profile
from rayloop.jobs.training.checkpoint import Checkpoints
from rayloop.jobs.training.data import encode_rows, part_tables
from rayloop.jobs.training.loop import Place, Plan, Training, build_module, measure
from rayloop.jobs.training.preparation import prepare
from rayloop.jobs.training.reader import open_parts
from rayloop.jobs.training.saving import Saver
from rayloop.jobs.training.session import Alone, Session
from rayloop.platform.data import Snapshot, Store, assign_parts, create_snapshot, read_source_files
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model.artifact import LoadedModel, load_artifact, save_artifact
from rayloop.platform.model.task import find_task
from rayloop.platform.project import Project
from rayloop.platform.project.training import CheckpointConfig

from .conftest import build_project

ROWS = 200
TASK = find_task("tabular")
LARGEST = float(np.finfo(np.float32).max)

Columns = Mapping[str, Any]


def spoiled(value: float, every: int = 10) -> np.ndarray:
    """Numbers of which each so-manyth is another."""
    numbers = np.random.default_rng(1).normal(size=ROWS)
    numbers[::every] = value
    return numbers


def table_of(columns: Columns) -> pa.Table:
    """A sound table, in which some columns are others."""
    label = np.arange(ROWS) % 2
    sound = {"id": np.arange(ROWS), "a": np.random.default_rng(0).normal(2.0 * label), "y": label}
    return pa.table({**sound, **columns})


def opened(folder: Path, columns: Columns, **sections: Any) -> tuple[Project, Snapshot]:
    path = folder / "data.parquet"
    pq.write_table(table_of(columns), path)
    project = build_project(data={"source": str(path)}, **sections)
    return project, create_snapshot(Store(str(folder / "store")), project, read_source_files(str(path)))


def train(folder: Path, columns: Columns, **sections: Any) -> dict[str, float]:
    """Train as a job does, without Ray and MLflow: to an artifact, which is loaded and measured on the test rows."""
    project, snapshot = opened(folder, columns, **sections)
    parts = open_parts(snapshot, project, "memory")
    schema, plan = prepare(Plan.of(project), project, parts)
    rows = {part: encode_rows(TASK, schema, table) for part, table in part_tables(snapshot, project).items()}
    training = Training(TASK, build_module(TASK, schema, plan), plan, Place())
    saver = Saver(Checkpoints(snapshot.store, "checkpoints"), Place(), plan.strategy)
    Session(training, Place(), saver, CheckpointConfig(), Alone()).run(rows["train"], rows["validation"])
    module = build_module(TASK, schema, plan)
    module.load_state_dict(training.best_weights())
    model = LoadedModel(schema, TASK, module.eval(), schema.signature(), "")
    profile = reference_profile(model, [parts["validation"], parts["test"]], plan.seed)
    save_artifact(folder / "artifact", module, schema, "tabular", plan.params, profile)
    loaded = load_artifact(str(folder / "artifact"))
    return measure(loaded.task, loaded.module, rows["test"])


FEATURES: Mapping[str, Callable[[], Any]] = {
    "infinities": lambda: np.where(np.arange(ROWS) % 20 == 3, -math.inf, spoiled(math.inf)),
    "nothing but infinities": lambda: np.full(ROWS, math.inf),
    "nothing but gaps": lambda: pa.array([None] * ROWS, pa.float64()),
    "no text at all": lambda: pa.array([None] * ROWS, pa.string()),
    "a constant": lambda: np.full(ROWS, 7.5),
    "a constant text": lambda: [""] * ROWS,
    "empty texts": lambda: ["", "b"] * (ROWS // 2),
    "all of 10^38": lambda: spoiled(0.0) * 1e38,
    "some of 10^38": lambda: spoiled(1e38),
    "the largest, of both signs": lambda: np.where(np.arange(ROWS) % 3 == 1, -LARGEST, spoiled(LARGEST, 3)),
    "beyond 32 bits": lambda: spoiled(1e39),
    "all beyond 32 bits": lambda: spoiled(0.0) * 1e200,
    "the largest of 64 bits": lambda: spoiled(1.7e308),
    "too small for 32 bits": lambda: spoiled(0.0) * 1e-310,
    "large whole numbers": lambda: np.full(ROWS, 2**64 - 1, np.uint64),
    "a text among numbers": lambda: [str(n) if n else "none" for n in range(ROWS)],
}


@pytest.mark.parametrize("way", ["piecewise", "quantile", "standard"])
@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_may_hold_anything(tmp_path: Path, name: str, way: str) -> None:
    found = train(tmp_path, {"b": FEATURES[name]()}, params={"numbers": way}, train={"epochs": 1})
    assert math.isfinite(found["loss"])


def test_one_huge_value_leaves_the_others_to_be_learnt_from(tmp_path: Path) -> None:
    """A value that 32 bits can't hold is a gap, and scales nothing."""
    label = np.arange(ROWS) % 2
    numbers = np.random.default_rng(0).normal(4.0 * label)
    numbers[::10] = 1e200
    assert train(tmp_path, {"a": numbers}, train={"epochs": 10})["accuracy"] > 0.85


@pytest.mark.parametrize(
    "sections",
    [
        {"train": {"batch_size": 1, "epochs": 1}},
        {"train": {"batch_size": 1, "epochs": 1}, "kind": "regression"},
        {"train": {"epochs": 1, "class_weights": "balanced"}},
    ],
)
def test_small_steps_train(tmp_path: Path, sections: dict[str, Any]) -> None:
    assert math.isfinite(train(tmp_path, {}, **sections)["loss"])


def test_a_target_of_10_to_the_38_trains(tmp_path: Path) -> None:
    found = train(tmp_path, {"y": spoiled(0.0) * 1e38}, kind="regression", train={"epochs": 1})
    assert 1e36 < found["rmse"] < 1e39


def place_of(part: int) -> int:
    """The first row of the toy that is in the part: 0 training, 1 validation, 2 test."""
    parts = assign_parts(pa.table({"id": np.arange(ROWS)}), build_project().data, [])
    return int(np.flatnonzero(parts == part)[0])


def changed(part: int, value: float, columns: np.ndarray) -> np.ndarray:
    columns[place_of(part)] = value
    return columns


REFUSED: Mapping[str, tuple[Callable[[], Columns], dict[str, Any], str]] = {
    "nothing but nulls": (
        lambda: {"b": pa.nulls(ROWS)},
        {},
        "column 'b' has type null, which no feature can have: nothing but nulls; name it under data.ignore",
    ),
    "100,000 texts": (
        lambda: (
            {name: np.arange(100_000) % 2 for name in ("a", "y")}
            | {"id": np.arange(100_000), "b": [f"c{n}" for n in range(100_000)]}
        ),
        {},
        r"column 'b' has \d{5} different texts; 10000 are the most a feature may have: name it under",
    ),
    "numbers as classes": (
        lambda: {"y": np.linspace(0, 1, ROWS)},
        {},
        "target 'y' has type double: classes are texts, whole numbers or booleans; set task.kind to regression",
    ),
    "one class": (
        lambda: {"y": np.full(ROWS, 3)},
        {},
        "target 'y' has one class only, 3 in the training rows; it must have 2 to 1000",
    ),
    "a class in the validation rows alone": (
        lambda: {"y": changed(1, 7, np.arange(ROWS) % 2)},
        {},
        "the validation rows can't be judged: target 'y' has the class 7, which training never saw; add training rows "
        "of it, leave it out, or change data.split",
    ),
    "a class in the test rows alone": (
        lambda: {"y": changed(2, 7, np.arange(ROWS) % 2)},
        {},
        "the test rows can't be judged: target 'y' has the class 7, which training never saw; add",
    ),
    "a batch of too many": (
        dict,
        {"train": {"batch_size": 1_000}},
        r"train.batch_size is 1000, but there are \d+ rows to train on: lower it$",
    ),
    "an infinite target": (
        lambda: {"y": spoiled(math.inf)},
        {"kind": "regression"},
        "target 'y' holds inf; each value must be a finite number, 3.4e",
    ),
    "a target beyond 32 bits": (
        lambda: {"y": changed(0, 1e39, spoiled(0.0))},
        {"kind": "regression"},
        r"target 'y' holds 1e\+39; each value must be a finite number, 3.4e\+38 at most",
    ),
    "an infinite target in the test rows": (
        lambda: {"y": changed(2, -math.inf, spoiled(0.0))},
        {"kind": "regression"},
        r"the test rows can't be judged: target 'y' holds -inf; each value must be a finite number, 3.4e\+38 at most$",
    ),
}


@pytest.mark.parametrize("source", ["memory", "stream"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_learnt_is_one_sentence_before_the_first_step(tmp_path: Path, name: str, source: str) -> None:
    columns, sections, sentence = REFUSED[name]
    project, snapshot = opened(tmp_path, columns(), **sections)
    with pytest.raises(InvalidInput, match=f"^{sentence}") as caught:
        prepare(Plan.of(project), project, open_parts(snapshot, project, source))
    assert caught.value.exit_code == 2


def test_one_row_is_too_few_to_be_parted(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(table_of({}).slice(0, 1), path)
    project = build_project(data={"source": str(path)}, train={"batch_size": 1, "epochs": 1})
    snapshot = create_snapshot(Store(str(tmp_path / "store")), project, read_source_files(str(path)))
    with pytest.raises(InvalidInput, match=r"the split leaves no row for (train|validation): 1 rows are too few"):
        part_tables(snapshot, project)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_one_training_row_trains_or_says_that_it_has_one_class(tmp_path: Path, kind: str) -> None:
    parts = assign_parts(pa.table({"id": np.arange(ROWS)}), build_project().data, [])
    kept = [*np.flatnonzero(parts != 0).tolist(), place_of(0)]
    path = tmp_path / "data.parquet"
    pq.write_table(table_of({}).take(kept), path)
    project = build_project(kind, data={"source": str(path)}, train={"batch_size": 1, "epochs": 1})
    snapshot = create_snapshot(Store(str(tmp_path / "store")), project, read_source_files(str(path)))
    parts_of_it = open_parts(snapshot, project, "memory")
    assert parts_of_it["train"].count == 1
    if kind == "classification":
        with pytest.raises(InvalidInput, match="target 'y' has one class only"):
            prepare(Plan.of(project), project, parts_of_it)
        return
    schema, plan = prepare(Plan.of(project), project, parts_of_it)
    training = Training(TASK, build_module(TASK, schema, plan), plan, Place())
    assert math.isfinite(training.run_epoch(encode_rows(TASK, schema, part_tables(snapshot, project)["train"])))
