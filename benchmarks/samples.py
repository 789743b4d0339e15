"""The real data that quality is measured on: which columns, which rows, which settings, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rayloop.platform.project import Project

SEED = 0
VALIDATION = 0.15


@dataclass(frozen=True, slots=True)
class Sample:
    """One problem: its project, and its rows in three parts, of which training never sees the last."""

    name: str
    project: Project
    train: pa.Table
    validation: pa.Table
    test: pa.Table
    metrics: tuple[str, ...]
    goals: Mapping[str, float]

    @property
    def target(self) -> str:
        """The column to predict."""
        return self.project.data.target


class NotHere(Exception):
    """A data set that does not lie in the folder."""


def _read(folder: Path | None, name: str) -> pa.Table:
    path = None if folder is None else folder / name
    if path is None or not path.exists():
        raise NotHere(f"{name} is not in the folder of --data")
    return pq.read_table(path)


def _take(table: pa.Table, chosen: Any) -> pa.Table:
    return table.filter(pa.array(chosen))


def _parted(table: pa.Table, test: float = 0.0) -> list[pa.Table]:
    """Train, validation and test by drawn shares; without a share for test two parts."""
    drawn = np.random.default_rng(SEED).uniform(size=table.num_rows)
    is_test, is_validation = drawn < test, (drawn >= test) & (drawn < test + VALIDATION)
    parts = [_take(table, ~is_test & ~is_validation), _take(table, is_validation)]
    return [*parts, _take(table, is_test)] if test else parts


def _published(table: pa.Table) -> list[pa.Table]:
    """The published split, of whose training rows some validate."""
    split = np.asarray(table.column("split"))
    rest = table.drop(["split"])
    return [*_parted(_take(rest, split == "train")), _take(rest, split == "test")]


def _project(target: str, train: Mapping[str, Any], **task: Any) -> Project:
    sections = {"name": "sample", "data": {"source": "-", "target": target}, "task": task, "train": dict(train)}
    return Project.model_validate(sections)


CLASSES = ("accuracy", "log_loss")
ADULT_GOALS = {"accuracy": 0.85, "auc": 0.905}


def adult(folder: Path | None, quick: bool) -> Sample:
    """Income above 50,000: every setting at its default."""
    parts = _published(_read(folder, "adult/adult.parquet"))
    project = _project("income", {"epochs": 8} if quick else {})
    return Sample("Adult", project, *parts, ("accuracy", "auc", "log_loss"), ADULT_GOALS)


def covertype(folder: Path | None, quick: bool) -> Sample:
    """Seven kinds of forest by 54 columns: a wider network, since there is more to tell apart."""
    table = _read(folder, "covertype/covertype_93k.parquet")
    table = table.slice(0, 20_000) if quick else table
    train = {"epochs": 4 if quick else 15, "batch_size": 512, "learning_rate": 0.002}
    project = _project("Cover_Type", train, params={"hidden": [512, 256], "dropout": 0.1})
    return Sample("Covertype", project, *_parted(table, 0.15), CLASSES, {})


def bikes(folder: Path | None, quick: bool) -> Sample:
    """Bikes hired in an hour, without the two columns that sum to them, and without those that only number the rows."""
    table = _read(folder, "bike_sharing/hour.parquet")
    table = table.drop(["casual", "registered", "instant", "dteday", "timestamp"])
    project = _project(
        "cnt", {"epochs": 10 if quick else 60}, kind="regression", params={"hidden": [256, 256], "dropout": 0.05}
    )
    return Sample("Bike sharing", project, *_parted(table, 0.15), ("rmse", "mae", "r2"), {})


def digits(folder: Path | None, quick: bool) -> Sample:  # noqa: ARG001
    """Scikit-learn's digits of 8 x 8, through the small ResNet."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(found.data.astype(np.float32).reshape(-1)), 64)
    table = pa.table({"pixels": pixels, "label": found.target})
    train = {"epochs": 15 if quick else 30, "batch_size": 64, "learning_rate": 0.002}
    project = _project("label", train, use="image", params={"shape": [8, 8], "shift": 1})
    return Sample("Digits", project, *_parted(table, 0.25), CLASSES, {"accuracy": 0.97})


def fashion(folder: Path | None, quick: bool) -> Sample:
    """A quarter of Fashion-MNIST, through the small ResNet."""
    train, validation, test = _published(_read(folder, "fashion_mnist/fashion_mnist_subset.parquet"))
    train = train.slice(0, 3_000) if quick else train
    settings = {"epochs": 3 if quick else 15, "batch_size": 64, "learning_rate": 0.001}
    project = _project(
        "label", settings, use="image", params={"shape": [28, 28], "widths": [32, 64, 128], "shift": 1, "flip": True}
    )
    goals = {} if quick else {"accuracy": 0.88}
    return Sample("Fashion-MNIST", project, train, validation, test, CLASSES, goals)


SAMPLES: Mapping[str, Callable[[Path | None, bool], Sample]] = {
    "adult": adult,
    "covertype": covertype,
    "bikes": bikes,
    "digits": digits,
    "fashion": fashion,
}


def values_of(table: pa.Table, names: Sequence[str]) -> dict[str, Any]:
    """Columns as NumPy arrays, for whoever is not rayloop; a list in each row makes one array of two axes."""
    from rayloop.platform.model.schema import table_columns

    return table_columns(table, names)
