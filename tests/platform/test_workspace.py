"""A workspace opens its parts when they are first used, and finds snapshots by the beginning of their names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rayloop.platform.data import create_snapshot, read_source_files
from rayloop.platform.errors import NotFound
from rayloop.platform.project import Project
from rayloop.platform.settings import Settings
from rayloop.platform.state import Deployment
from rayloop.platform.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(Settings.load({}, home=tmp_path / "home"))
    yield made
    made.close()


@pytest.fixture
def digests(
    workspace: Workspace, tmp_path: Path, make_project: Callable[..., Project], make_table: Callable[..., pa.Table]
) -> list[str]:
    found = []
    for seed in range(2):
        path = tmp_path / f"{seed}.parquet"
        pq.write_table(make_table(seed=seed), path)
        snapshot = create_snapshot(workspace.store, make_project(), read_source_files(str(path)))
        workspace.projects.add_snapshot("churn", snapshot.digest, 200)
        found.append(snapshot.digest)
    return found


def test_nothing_is_opened_before_it_is_used(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.capture_folder == f"{tmp_path}/home/store/capture"
    workspace.close()
    assert not (tmp_path / "home").exists()
    assert workspace.endpoints.splits() == []
    assert (tmp_path / "home" / "rayloop.db").exists()


def test_all_parts_share_one_database_and_ledger(workspace: Workspace, make_project: Callable[..., Project]) -> None:
    workspace.endpoints.add_deployment(Deployment("churn", 1, "a", {}))
    workspace.projects.save(make_project(), "code")
    workspace.pipelines.create("churn", "manual", "")
    workspace.verdicts.add("churn", 1, True, {})
    assert [entry.action for entry in workspace.ledger.entries()] == ["deploy", "trigger", "validate"]
    assert workspace.ledger.first_fault() is None


def test_a_snapshot_is_found_by_its_beginning(workspace: Workspace, digests: list[str]) -> None:
    old, new = digests
    assert workspace.snapshot("churn").digest == new
    assert workspace.snapshot("churn", old).digest == old
    assert workspace.snapshot("churn", old[:10]).digest == old
    assert workspace.snapshot("churn", old[:10]).table().num_rows == 200


def test_a_missing_snapshot_is_not_found(workspace: Workspace, digests: list[str]) -> None:
    with pytest.raises(NotFound, match="project 'fraud' has no snapshot"):
        workspace.snapshot("fraud")
    with pytest.raises(NotFound, match=r"snapshots/zzz/manifest\.json is not in the store"):
        workspace.snapshot("churn", "zzz")


def test_a_workspace_without_a_model_loads_neither_mlflow_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from rayloop.platform.workspace import Workspace; from rayloop.platform.settings import Settings;"
        "Workspace(Settings.load()).endpoints.splits();"
        "print(sorted({'mlflow', 'torch', 'ray', 'cupy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
