"""The quality benchmark tells where we lose and by how much, and what of the data is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import quality
import rivals
import samples
from rayloop.platform.project import Project


def sample(goals: dict[str, float] | None = None, **task: Any) -> samples.Sample:
    random = np.random.default_rng(0)
    number = random.normal(size=300)
    table = pa.table(
        {
            "x": pa.array(number, mask=random.uniform(size=300) < 0.1),
            "city": ["Bonn", "Ulm", None] * 100,
            "y": np.where(number > 0, "yes", "no") if not task else 3 * number,
        }
    )
    project = Project.model_validate(
        {"name": "a", "data": {"source": "-", "target": "y"}, "task": task, "train": {"epochs": 3, "batch_size": 32}}
    )
    parts = [table.slice(0, 150), table.slice(150, 50), table.slice(200)]
    metrics = ("accuracy", "log_loss") if not task else ("rmse", "r2")
    return samples.Sample("Toy", project, *parts, metrics, goals or {})


def test_we_lose_in_words_and_figures() -> None:
    theirs = {"accuracy": 0.9, "log_loss": 0.25}
    metrics = {
        "rayloop": {"accuracy": 0.875, "log_loss": 0.2},
        "gradient boosting": theirs,
        "linear": {"accuracy": 0.8, "log_loss": 0.2},
    }
    found = quality.Learnt(sample({"accuracy": 0.88}), metrics, dict.fromkeys(metrics, 2.0))
    accuracy, loss = found.cells()
    assert accuracy[:6] == ("Toy", "200 / 100", "accuracy", "0.8750", "0.9000", "0.8000")
    assert accuracy[6:] == ("**behind by 0.0250**", "2", "2 / 2")
    assert loss[6] == "level"
    (claim,) = found.claims()
    assert (claim.name, claim.value, claim.holds) == ("Toy: accuracy", 0.875, False)


@pytest.mark.parametrize("task", [{}, {"kind": "regression"}])
def test_everyone_answers_the_same_rows(task: dict[str, Any]) -> None:
    said: list[str] = []
    found = quality.learn(sample(**task), said.append)
    assert set(found.metrics) == {"rayloop", *rivals.NAMES}
    assert all(metric in values for values in found.metrics.values() for metric in found.sample.metrics)
    assert len(said) == 3 + 2
    if not task:
        assert found.metrics["linear"]["accuracy"] > 0.85


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(samples.NotHere, match=r"adult/adult.parquet is not in the folder of --data"):
            samples.SAMPLES["adult"](folder, True)


def test_the_digits_need_no_folder_and_their_parts_share_no_row() -> None:
    found = samples.SAMPLES["digits"](None, False)
    assert found.train.num_rows + found.validation.num_rows + found.test.num_rows == 1_797
    assert found.train.num_rows > found.test.num_rows > found.validation.num_rows
