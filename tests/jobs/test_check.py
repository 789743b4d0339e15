"""`rayloop check` names the first fault of file and source and, with --task, of the task on real rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rayloop.cli import main
from rayloop.platform.model import task as task_module

OWN = """
import torch
from rayloop.platform.model.tabular import TabularTask

class Good(TabularTask):
    pass

class Bad(TabularTask):
    def encode(self, schema, columns):
        inputs = super().encode(schema, columns)
        return {**inputs, "numeric": inputs["numeric"][:1]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checked.py").write_text(OWN)
    yield tmp_path
    task_module._folders.clear()


def check(folder: Path, table: dict[str, Any], *options: str, **sections: str) -> Result:
    pq.write_table(pa.table(table), folder / "data.parquet")
    lines = [f"{name}: {value}" for name, value in sections.items()]
    (folder / "rayloop.yaml").write_text(
        "\n".join(["name: toy", "data: {source: data.parquet, target: label, key: id}", *lines])
    )
    return CliRunner().invoke(main, ["check", *options])


def rows(count: int = 80) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"id": np.arange(count), "x": random.normal(size=count), "same": [1] * count, "label": np.arange(count) % 2}


def test_without_the_option_no_task_is_run(folder: Path) -> None:
    found = check(folder, rows(), task="{use: 'checked:Bad'}")
    assert found.exit_code == 0
    assert found.output == "rayloop.yaml is sound: 80 rows, target 'label', classification\n"


@pytest.mark.parametrize("use", ["tabular", "checked:Good"])
def test_a_sound_task_says_what_was_checked(folder: Path, use: str) -> None:
    found = check(folder, rows(), "--task", task=f"{{use: '{use}'}}")
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert lines[1] == "note: column 'same' has one value only in the training rows"
    assert "encode: numeric [32, 2]" in lines
    assert "predict: probabilities [32, 2]" in lines
    assert lines[-1] == f"task '{use}' keeps its contract on 32 rows"


def test_the_first_fault_is_one_sentence_and_an_exit_code(folder: Path) -> None:
    found = check(folder, rows(), "--task", task="{use: 'checked:Bad'}")
    assert found.exit_code != 0
    assert found.output.splitlines()[-1] == (
        "error: task 'checked:Bad', encode: 'numeric' has shape [1, 2] for 32 rows; the first axis of each tensor must "
        "be the rows"
    )


def test_a_class_that_training_never_sees_is_found_before_training(folder: Path) -> None:
    sound = check(folder, rows(), "--task")
    assert sound.exit_code == 0
    from rayloop.platform.data import assign_parts
    from rayloop.platform.project import find_project, load_project

    table = rows()
    places = assign_parts(pa.table(table), load_project(find_project()).data, [])
    table["label"] = np.where(places == 2, 7, table["label"])
    found = check(folder, table, "--task")
    assert found.output.splitlines()[-1] == (
        "error: the test rows can't be judged: target 'label' has the class 7, which training never saw; "
        "add training rows of it, leave it out, or change data.split"
    )


def test_parameters_are_read_as_a_training_would(folder: Path) -> None:
    found = check(folder, rows(), "--task", task="{params: {width: 3}}")
    assert "error: task.params.width is unknown to tabular; known: model, hidden" in found.output
