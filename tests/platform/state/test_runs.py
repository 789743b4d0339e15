"""A run is found by the beginning of its key; its record is one file, its progress another."""

from __future__ import annotations

from pathlib import Path

import pytest
from rayloop.platform.data import Store
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.state import Run, Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(Store(str(tmp_path / "store")))


def test_there_are_none_at_first(runs: Runs) -> None:
    assert (runs.keys(), runs.all()) == ([], [])


def test_a_record_comes_back_as_it_was(runs: Runs) -> None:
    run = Run("a-1", "a", "train", began_s=1.5, jobs=("a-1",), params={"epochs": "3"}, metrics={"loss": 0.5})
    runs.save(run)
    assert runs.get("a-1") == run
    assert runs.change("a-1", state="finished", version=3).version == 3
    assert runs.get("a-1").has_ended


def test_the_same_key_goes_on(runs: Runs) -> None:
    first = runs.begin("a-1", "a", "train", "a-1")
    runs.change("a-1", state="failed", error="no luck", ended_s=9.0)
    again = runs.begin("a-1", "a", "train", "a-1-2")
    assert (again.began_s, again.state, again.error, again.ended_s) == (first.began_s, "running", "", None)
    assert again.jobs == ("a-1", "a-1-2")


def test_a_key_may_hold_any_sign(runs: Runs) -> None:
    runs.begin("churn 1/train", "churn", "train")
    assert runs.keys() == ["churn 1/train"]
    runs.write_text("churn 1/train", "code.diff", "-a\n+b\udce4\n")
    assert runs.text("churn 1/train", "code.diff") == "-a\n+b\udce4\n"


def test_a_run_is_found_by_the_beginning_of_its_key(runs: Runs) -> None:
    for key in ("toy-train-aa", "toy-train-ab", "toy-train-a"):
        runs.begin(key, "toy", "train")
    assert runs.find("toy-train-aa").key == "toy-train-aa"
    assert runs.find("toy-train-a").key == "toy-train-a"  # a whole key is never ambiguous
    with pytest.raises(InvalidInput, match="'toy' is the beginning of 3 runs: toy-train-a, toy-train-aa, toy-train-ab"):
        runs.find("toy")
    for unknown in ("digits", ""):
        with pytest.raises(NotFound, match=f"no run '{unknown}' is known here"):
            runs.find(unknown)


def test_progress_counts_until_the_run_has_ended(runs: Runs) -> None:
    runs.begin("a-1", "a", "train")
    runs.progress("a-1", 2, 5, {"loss": 0.25})
    run = runs.get("a-1")
    assert (run.epoch, run.epochs, run.metrics) == (2, 5, {"loss": 0.25})
    runs.save(Run("a-1", "a", "train", state="finished", epoch=5, epochs=5, metrics={"loss": 0.125}))
    assert runs.get("a-1").epoch == 5


def test_a_run_is_found_by_mlflow_s_name(runs: Runs) -> None:
    runs.save(Run("a-1", "a", "train", run_id="123"))
    assert runs.of_mlflow("123").key == "a-1"
    with pytest.raises(NotFound, match="'124'"):
        runs.of_mlflow("124")


def test_what_mlflow_lacks_is_kept_until_it_has_it(runs: Runs) -> None:
    assert runs.undelivered("a-1") == []
    runs.keep_undelivered("a-1", [{"kind": "Ended", "status": "FINISHED"}])
    assert runs.undelivered("a-1") == [{"kind": "Ended", "status": "FINISHED"}]
    runs.keep_undelivered("a-1", [])
    assert runs.undelivered("a-1") == []


def test_a_record_of_a_later_version_is_read(runs: Runs) -> None:
    assert Run.from_json(b'{"key": "a", "project": "b", "kind": "train", "colour": "red"}') == Run("a", "b", "train")
