"""What is learnt of a part in pieces: all of it where it is small, and of a large one what every row must tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.jobs.data import add_data
from rayloop.jobs.training import preparation
from rayloop.jobs.training.loop import Plan
from rayloop.jobs.training.preparation import learn_schema, prepare, with_class_weights
from rayloop.jobs.training.reader import PartTable, open_parts, read_parts
from rayloop.jobs.training.suspects import suspects
from rayloop.platform.data import Snapshot, pieces
from rayloop.platform.errors import InvalidInput
from rayloop.platform.model import distinct
from rayloop.platform.model.schema import canonical_json, fit_schema
from rayloop.platform.project import Project
from rayloop.platform.workspace import Workspace

from .conftest import build_project, build_table

ROWS, GROUP = 3_000, 250
Make = Callable[..., tuple[Project, Snapshot]]


@pytest.fixture
def make(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A snapshot of row groups that come in small pieces; columns may be changed."""
    monkeypatch.setattr(pieces, "PIECE_ROWS", 64)

    def make_one(kind: str = "classification", train: dict[str, Any] | None = None, **columns: Any) -> Any:
        table = build_table(ROWS, "regression" if kind == "regression" else "classification", classes=3)
        for name, values in columns.items():
            table = table.drop_columns([name]) if name in table.column_names else table
            table = table.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
        pq.write_table(table, tmp_path / "data.parquet", row_group_size=GROUP)
        project = build_project(kind, data={"source": str(tmp_path / "data.parquet")}, train=train or {})
        return project, add_data(workspace, project).snapshot

    return make_one


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(preparation, "SAMPLE_ROWS", 300)
    return 300


def late(early: Any, rare: Any) -> list[Any]:
    """The rare value stands in the last row group alone, in two thirds of its rows."""
    return [rare if row >= ROWS - GROUP and row % 3 else early(row) for row in range(ROWS)]


def test_all_that_fits_gives_the_schema_of_the_whole_table(make: Make) -> None:
    project, snapshot = make()
    train, whole = (open_parts(snapshot, project, source)["train"] for source in ("stream", "memory"))
    streamed, known = (learn_schema(part, project, 3) for part in (train, whole))
    assert canonical_json(streamed.to_dict()) == canonical_json(known.to_dict())


def test_a_sample_teaches_numbers_and_all_rows_teach_the_rest(make: Make, small_sample: int) -> None:
    # A seed's sample may lie anywhere: each of these must know what is in the last row group alone.
    values = late(lambda row: ["red", "blue"][row % 2], "only here")
    project, snapshot = make(color=values, y=late(lambda row: row % 2, 7))
    whole = fit_schema(next(open_parts(snapshot, project, "memory")["train"].tables(["a", "b", "color", "y"])), project)
    train = read_parts(snapshot, project)["train"]
    for seed in range(4):
        found = learn_schema(train, project, seed)
        assert found.target == whole.target
        assert found.target.classes == (0, 1, 7)
        assert found.categorical == whole.categorical
        assert found.categorical[0].categories == ("blue", "only here", "red")
        for mine, exact in zip(found.numeric, whole.numeric, strict=True):
            assert mine != exact
            assert abs(mine.mean - exact.mean) < 4 * exact.std / np.sqrt(small_sample)
            assert mine.std == pytest.approx(exact.std, rel=0.2)


def test_a_sample_of_one_class_is_no_ground_to_refuse(make: Make, small_sample: int) -> None:
    project, snapshot = make(y=late(lambda _: "no", "yes"))
    assert learn_schema(read_parts(snapshot, project)["train"], project, 0).target.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (late(lambda row: ["a"] if row % 2 else [], ["a", "rare"]), ("a", "rare")),
        ([[row % 2 == 0, row % 3 == 0, True] for row in range(ROWS)], (0, 1, 2)),
    ],
    ids=["lists", "marks"],
)
def test_labels_are_those_of_all_rows(make: Make, small_sample: int, values: Any, classes: Any) -> None:
    project, snapshot = make("multilabel", y=values)
    found = learn_schema(read_parts(snapshot, project)["train"], project, 0).target
    assert (found.classes, found.is_multilabel) == (classes, True)


@pytest.mark.parametrize(
    ("kind", "columns", "sentence"),
    [
        ("classification", {"color": [f"text {row}" for row in range(ROWS)]}, r"has \d+ different texts; 30 are"),
        ("regression", {"y": late(float, np.inf)}, "target 'y' holds inf; each value must be a finite number"),
        ("multilabel", {"y": late(lambda _: ["a", "b"], [None])}, "target 'y' has a null among its labels"),
        ("classification", {"y": [float(row % 2) for row in range(ROWS)]}, "target 'y' has type double: classes are"),
    ],
)
def test_what_only_some_rows_show_is_refused_all_the_same(
    make: Make, small_sample: int, monkeypatch: pytest.MonkeyPatch, kind: str, columns: Any, sentence: str
) -> None:
    monkeypatch.setattr(distinct, "MOST", 31)
    monkeypatch.setattr("rayloop.platform.model.feature.MAX_CATEGORIES", 30)
    project, snapshot = make(kind, **columns)
    with pytest.raises(InvalidInput, match=sentence):
        learn_schema(read_parts(snapshot, project)["train"], project, 0)


def test_classes_are_weighed_by_all_rows(make: Make, small_sample: int) -> None:
    project, snapshot = make(train={"class_weights": "balanced"}, y=late(lambda row: row % 2, 7))
    plan = Plan.of(project)
    parts = open_parts(snapshot, project, "stream")
    schema, streamed = prepare(plan, project, parts)
    whole = PartTable(pa.concat_tables(parts["train"].tables(parts["train"].names)))
    assert streamed.weights_by_class == with_class_weights(plan, project, schema, whole).weights_by_class
    assert streamed.weights_by_class[2] > 3 * streamed.weights_by_class[0]


def test_columns_that_a_loss_diverged_by_are_found_piece_by_piece(make: Make) -> None:
    project, snapshot = make(a=late(lambda row: float(row % 5), 1e12), b=late(float, np.inf))
    train = read_parts(snapshot, project)["train"]
    schema = learn_schema(train, project, 0)
    infinite = sum(int(np.isinf(table["b"].to_numpy()).sum()) for table in train.tables(["b"]))
    assert infinite > 50
    found = suspects(schema, train.tables(train.names))
    assert "'a' (up to 1e+12, but 2 in the middle)" in found
    assert f"'b' ({infinite} infinite in 32 bits)" in found
