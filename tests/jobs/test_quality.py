"""The verb `quality`: shows, writes and checks rules, and ends with 1 where an anomaly is an error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rayloop.cli import main
from rayloop.jobs.quality import describe_rules
from rayloop.platform.quality import ColumnConstraints, Constraints


def rayloop(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="rayloop", env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "work"
    found.mkdir()
    monkeypatch.chdir(found)
    pq.write_table(build(), "good.parquet")
    broken = build().set_column(0, "age", pa.array([-5] * 1_000))
    pq.write_table(broken, "bad.parquet")
    return found


def build() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"age": rng.integers(0, 90, 1_000), "label": rng.choice(["yes", "no"], 1_000)})


def test_rules_are_shown_and_written(folder: Path) -> None:
    result = rayloop("quality", "good.parquet", "--write", "rules.json", "--export-sagemaker", "constraints.json")
    assert result.exit_code == 0, result.output
    assert "wrote rules.json: 2 columns" in result.output
    assert "0 to 89, not negative, whole" in result.output
    assert "2 categories" in result.output
    assert list(Constraints.from_json((folder / "rules.json").read_bytes()).columns) == ["age", "label"]
    assert json.loads((folder / "constraints.json").read_text())["features"][0]["inferred_type"] == "Integral"


def test_a_file_is_held_against_rules() -> None:
    assert rayloop("quality", "good.parquet", "--write", "rules.json").exit_code == 0
    good = rayloop("quality", "good.parquet", "--constraints", "rules.json")
    assert (good.exit_code, good.output) == (0, "no anomaly in 1000 rows: 2 columns keep their rules\n")
    bad = rayloop("quality", "bad.parquet", "--constraints", "rules.json")
    assert bad.exit_code == 1
    assert "VALUE_NEGATIVE" in bad.output
    assert "COLUMN_CONSTANT" in bad.output


def test_warnings_alone_end_with_0(folder: Path) -> None:
    rayloop("quality", "good.parquet", "--write", "rules.json")
    table = build().set_column(1, "label", pa.array(["maybe", "no"] * 500))
    pq.write_table(table, "odd.parquet")
    odd = rayloop("quality", "odd.parquet", "--constraints", "rules.json")
    assert odd.exit_code == 0
    assert "CATEGORY_UNKNOWN" in odd.output
    assert "'maybe' (500)" in odd.output


def test_sagemakers_rules(folder: Path) -> None:
    rayloop("quality", "good.parquet", "--export-sagemaker", "constraints.json")
    assert rayloop("quality", "good.parquet", "--import-sagemaker", "constraints.json").exit_code == 0
    bad = rayloop("quality", "bad.parquet", "--import-sagemaker", "constraints.json", "--write", "rules.json")
    assert bad.exit_code == 1
    rules = Constraints.from_json((folder / "rules.json").read_bytes())
    assert rules.columns["age"].max_negative_share == 0


def test_the_newest_snapshot_is_the_reference() -> None:
    assert rayloop("init", "toy", "--source", "data.parquet").exit_code == 0
    pq.write_table(build(), "data.parquet")
    first = rayloop("quality")
    assert first.exit_code == 0
    assert "inferred from 1000 rows" in first.output
    assert rayloop("data", "add").exit_code == 0
    assert "no anomaly" in rayloop("quality").output
    assert rayloop("quality", "bad.parquet").exit_code == 1
    table = build().set_column(0, "age", pa.array(["a"] * 1_000))
    pq.write_table(table, "data.parquet")
    added = rayloop("data", "add")
    assert added.exit_code == 0
    assert "error TYPE_CHANGED: column 'age' is string, but was integral" in added.output


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 3, "rayloop.yaml"),
        (("no.parquet", "--constraints", "rules.json"), 3, "cannot read rules.json"),
        (("good.parquet", "--constraints", "good.parquet"), 2, "good.parquet: the constraints are not JSON"),
        (("good.parquet", "--import-sagemaker", "good.parquet"), 2, "good.parquet: this is not a constraints.json"),
        (("good.parquet", "--constraints", "a", "--import-sagemaker", "b"), 2, "both name rules"),
        (("no.parquet",), 3, "no such file: no.parquet"),
    ],
)
def test_refusals_are_one_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    result = rayloop("quality", *arguments)
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert sentence in line


def test_files_of_other_columns_are_refused(folder: Path) -> None:
    (folder / "many").mkdir()
    pq.write_table(build(), "many/a.parquet")
    pq.write_table(build().drop_columns("age"), "many/b.parquet")
    result = rayloop("quality", "many")
    assert result.exit_code == 2
    assert "the files of many have different columns" in result.stderr


def test_rules_in_words() -> None:
    column = ColumnConstraints(width=3, max_not_finite_share=0.1, max_duplicate_share=0)
    assert describe_rules(column) == "finite, all different, 3 numbers"
