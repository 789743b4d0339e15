"""The verbs of runs without a cluster: what is listed and compared, and that every refusal is one sentence."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rayloop.cli import main
from rayloop.jobs.run_tables import comparison_table, runs_table
from rayloop.platform.state import Run
from rayloop.platform.workspace import Workspace
from rich.console import Console
from rich.table import Table

from .conftest import Known

NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens there


def rayloop(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--address", NOBODY, *arguments], prog_name="rayloop", env={"COLUMNS": "160"})


def refuse(code: int, *arguments: str) -> str:
    result = rayloop(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("error: ")


@pytest.fixture
def runs(workspace: Workspace) -> list[Run]:
    shared: dict[str, Any] = {"project": "toy", "began_s": 1_700_000_000.0, "ended_s": 1_700_000_065.0}
    found = [
        Run(
            key="toy-train-aa",
            kind="train",
            state="finished",
            version=1,
            epoch=3,
            epochs=3,
            params={"epochs": "3", "seed": "0"},
            metrics={"validation_accuracy": 0.5, "test_accuracy": 0.75},
            **shared,
        ),
        Run(key="toy-train-ab", kind="train", state="failed", params={"epochs": "3", "seed": "1"}, **shared),
        Run(key="other-tune-b", kind="tune", jobs=("other-tune-b",), **{**shared, "project": "other", "ended_s": None}),
    ]
    for run in found:
        workspace.runs.save(run)
    return found


def test_runs_are_listed_with_state_metric_and_version(runs: list[Run]) -> None:
    lines = [line.split() for line in rayloop("runs").stdout.splitlines()]
    assert lines[0] == ["run", "kind", "state", "epoch", "metric", "version", "began", "(UTC)", "took"]
    listed = {line[0]: line for line in lines[1:4]}
    assert listed["toy-train-aa"][1:7] == ["train", "finished", "3/3", "accuracy", "0.7500", "v1"]
    assert listed["toy-train-aa"][-1] == "1:05"
    assert listed["toy-train-ab"][1:3] == ["train", "failed"]
    assert " ".join(lines[4]) == f"no Ray cluster answers at {NOBODY}: what is called running may have ended"


def test_a_key_is_whole_in_a_narrow_terminal(runs: list[Run], workspace: Workspace) -> None:
    key = "a-rather-long-name-of-a-project-train-0123abcd"
    workspace.runs.save(Run(key=key, project="long", kind="train", state="finished", epoch=60, epochs=60))
    listed = CliRunner().invoke(main, ["runs", "long"], env={"COLUMNS": "80"}).stdout
    assert key in listed


def printed(table: Table, columns: int) -> list[str]:
    """A table as a terminal of so many columns shows it."""
    console = Console(width=columns, file=io.StringIO(), highlight=False, markup=False)
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (160, ["run", "kind", "state", "epoch", "metric", "version", "began", "(UTC)", "took"]),
        (70, ["run", "kind", "state", "epoch", "metric", "version", "took"]),
        (60, ["run", "state", "epoch", "metric", "version"]),
        (40, ["run", "state", "version"]),
    ],
)
def test_in_a_narrow_terminal_columns_give_way_and_none_is_cut(runs: list[Run], columns: int, kept: list[str]) -> None:
    lines = printed(runs_table(runs[:2], 1_700_000_100.0, columns), columns)
    assert lines[0].split() == kept
    states = [(line.split()[0], line.split()[kept.index("state")]) for line in lines[1:]]
    assert states == [("toy-train-aa", "finished"), ("toy-train-ab", "failed")]
    assert max(len(line.rstrip()) for line in lines) <= columns
    assert not any("\u2026" in line for line in lines)


def test_compared_runs_are_named_whole_in_a_narrow_terminal() -> None:
    keys = [f"a-project-of-a-long-name-train-0123abc{n}" for n in range(3)]
    found = [Run(key, "long", "train", params={"seed": str(n)}) for n, key in enumerate(keys)]
    lines = printed(comparison_table(found, every=False), 60)
    assert not any("\u2026" in line for line in lines)
    heads = [line.split() for line in lines if not line.startswith("seed")]
    assert ["".join(parts) for parts in zip(*heads, strict=True)] == keys


def test_an_empty_list_is_a_sentence(workspace: Workspace, own_home: Path) -> None:
    found = rayloop("runs")
    assert (found.exit_code, found.stdout) == (
        0,
        f"no run is known in {own_home}/store/runs: `rayloop train` starts one\n",
    )
    assert rayloop("runs", "nobody").stdout.startswith("no run of project 'nobody' is known in ")


def test_why_the_latest_failed_is_told_below_the_list(runs: list[Run], workspace: Workspace) -> None:
    for n in range(4):
        run = Run(key=f"bad-train-{n}", project="bad", kind="train", state="failed", error=f"reason {n}", began_s=n + 1)
        workspace.runs.save(run)
    lines = rayloop("runs", "bad").stdout.splitlines()
    assert lines[5:] == [f"bad-train-{n}: reason {n}" for n in (1, 2, 3)]


def test_the_list_can_be_bounded_and_read_by_machines(runs: list[Run]) -> None:
    assert [run["key"] for run in json.loads(rayloop("runs", "toy", "--json").stdout)] == [
        "toy-train-aa",
        "toy-train-ab",
    ]
    (newest,) = json.loads(rayloop("runs", "toy", "--most", "1", "--json").stdout)
    assert (newest["key"], newest["params"]) == ("toy-train-ab", {"epochs": "3", "seed": "1"})
    assert json.loads(rayloop("runs", "nobody", "--json").stdout) == []


def test_what_differs_is_compared(runs: list[Run]) -> None:
    result = rayloop("compare", "toy-train-aa", "toy-train-ab")
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:]}
    assert rows == {"seed": ["0", "1"], "test_accuracy": ["0.75"], "validation_accuracy": ["0.5"]}
    assert "epochs" in rayloop("compare", "toy-train-aa", "toy-train-ab", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("compare", "toy-train-aa"), 2, "name at least two different runs to compare"),
        (("compare", "toy-train-aa", "toy-train-aa"), 2, "name at least two different runs to compare"),
        (("compare", "toy-train-aa", "nobody"), 3, "no run 'nobody' is known here"),
        (("compare", "toy-train-a", "other"), 2, "is the beginning of 2 runs: toy-train-aa, toy-train-ab"),
        (("stop", "nobody"), 3, "no run 'nobody' is known here: `rayloop runs` lists them"),
        (("stop", "toy"), 2, "'toy' is the beginning of 2 runs: toy-train-aa, toy-train-ab"),
        (("stop", "toy-train-aa"), 4, "run toy-train-aa has ended already: finished"),
        (("stop", "other"), 5, f"no Ray cluster answers at {NOBODY}"),
        (("stop", ""), 3, "no run '' is known here"),
        (("resume", "toy-train-aa"), 4, "run toy-train-aa has ended well: it is toy v1"),
        (("resume", "nobody"), 3, "no run 'nobody'"),
        (("resume", "toy-train-a"), 2, "2 runs"),
        (("resume", "toy-train-ab"), 5, f"no Ray cluster answers at {NOBODY}"),
        (("logs", "toy-train-aa"), 5, f"no Ray cluster answers at {NOBODY}"),
    ],
)
def test_every_refusal_is_one_sentence(runs: list[Run], arguments: tuple[str, ...], code: int, words: str) -> None:
    assert words in refuse(code, *arguments)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own query
def test_an_unknown_version_can_t_be_reproduced(known: Known) -> None:
    assert refuse(3, "reproduce", "toy", "1") == "no model 'toy' is registered"
    assert rayloop("reproduce", "toy", "0").exit_code == 2
    assert rayloop("reproduce", "toy", "1", "--tolerance", "-1").exit_code == 2
