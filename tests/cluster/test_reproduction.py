"""A version is trained again on a live cluster, bit for bit; what was changed meanwhile is named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from rayloop.jobs.demo.camera import load_parts
from rayloop.jobs.demo.project import PROJECT, add_rows

from .conftest import Live

pytestmark = [pytest.mark.cluster, pytest.mark.live]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def reproduce(live: Live, folder: Path, model: str, *more: str) -> dict:
    printed = live.run("reproduce", model, "1", "--json", *more, cwd=folder)
    return json.loads(printed.splitlines()[-1])


def test_a_tabular_version_is_bit_exact_twice(live: Live, make_project: Callable[..., Path]) -> None:
    folder = make_project("again", workers=2, epochs=3)
    git(folder, "init", "-q")
    git(folder, "add", "rayloop.yaml")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "rayloop.yaml").write_text((folder / "rayloop.yaml").read_text() + "# not committed\n")
    (folder / "notes.py").write_text("x = 1  # git does not know it\n")
    assert "epoch 3 of 3" in live.run("train", cwd=folder)
    for _ in range(2):
        report = reproduce(live, folder, "again")
        assert report["outcome"] == "bit-exact"
        assert (report["differences"], report["first_epoch"], report["epochs"]) == ([], None, 3)
        assert report["sha256"] == report["sha256_again"]
        assert (report["machine"], report["labels"]) == ([], [])
        assert "with its uncommitted difference and 1 file(s) that git does not know" in report["code"][0]
        assert "byte for byte the bundle" in report["code"][0]
    version = live.workspace.registry.version("again", 1)
    assert version.tags["rayloop.reproduced"] == "bit-exact"
    entries = live.workspace.ledger.entries()
    told = [entry for entry in entries if (entry.action, entry.subject) == ("reproduce", "again/1")]
    assert [entry.detail["outcome"] for entry in told] == ["bit-exact"] * 2
    artifacts = {f.path for f in MlflowClient(live.settings.tracking_uri).list_artifacts(version.run_id)}
    assert {f"reproduction-{entry.detail['again']}.json" for entry in told} <= artifacts
    assert {"witness.json", "plan.json", "code.json", "code.diff", "environment.txt"} <= artifacts
    assert subprocess.check_output(["git", "-C", str(folder), "worktree", "list"]).count(b"\n") == 1
    # Another seed is another training, and it parts before the first step.
    runs = live.workspace.runs
    run = runs.of_mlflow(version.run_id)
    plan = json.loads(runs.text(run.key, "plan.json"))
    runs.write_text(run.key, "plan.json", json.dumps({**plan, "seed": 1}))
    lock = runs.text(run.key, "environment.txt")
    runs.write_text(run.key, "environment.txt", lock.replace("\nnumpy==", "\nnumpy==0."))
    printed = live.run("reproduce", "again", "1", cwd=folder, expect=1)
    assert "the weights differ before the first step" in printed
    assert "again v1: differs" in printed
    assert "environment: numpy was 0." in printed
    # Another rate is another training from its first epoch on.
    runs.write_text(run.key, "plan.json", json.dumps({**plan, "learning_rate": plan["learning_rate"] * 1.0001}))
    printed = live.run("reproduce", "again", "1", "--tolerance", "0.5", cwd=folder)
    assert "the weights are the same until they differ after epoch 1" in printed
    assert "again v1: within tolerance" in printed
    runs.write_text(run.key, "plan.json", json.dumps(plan))
    # One cell of one object.
    manifest = live.workspace.snapshot("again").manifest
    path = Path(live.settings.store) / manifest.files[0].object_name
    kept = path.read_bytes()
    table = pq.read_table(path)
    values = table.column("x2").to_numpy().copy()
    values[17] += 1.0
    pq.write_table(table.set_column(table.column_names.index("x2"), "x2", [values]), path)
    printed = live.run("reproduce", "again", "1", cwd=folder, expect=2)
    assert f"first.parquet ({manifest.files[0].object_name}) was changed" in printed
    path.write_bytes(kept)


def test_images_of_digits_are_bit_exact_twice(live: Live, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    text = PROJECT.replace("epochs: 40", "epochs: 5").replace("min: 0.85", "min: 0.5")
    (folder / "rayloop.yaml").write_text(text.replace("\ntrain:\n", "\ntrain:\n  profile: true\n  export: [onnx]\n"))
    add_rows(folder, "first", load_parts()[0])
    assert "digits v1 passed its gates" in live.run("train", cwd=folder)
    for _ in range(2):
        report = reproduce(live, folder, "digits")
        assert (report["outcome"], report["epochs"], report["differences"]) == ("bit-exact", 5, [])
        assert report["sha256"] == report["sha256_again"]
        assert "they were in no git checkout" in report["code"][0]
    version = live.workspace.registry.version("digits", 1)
    assert (Path(version.artifact) / "onnx/model.onnx").exists()
    run = live.workspace.runs.of_mlflow(version.run_id)
    assert run.metrics["export/onnx_max_difference"] < 1e-5
    (trace,) = (Path(live.settings.store) / f"runs/{run.key}/profile").iterdir()
    assert trace.name.endswith(".pt.trace.json.gz")
