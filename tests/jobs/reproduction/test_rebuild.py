"""The code of a run is what ran, and git says where it came from, or that it can't."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rayloop.jobs.reproduction.rebuild import rebuild_code
from rayloop.platform.data import Store, bundle_code, code_state
from rayloop.platform.data.code import STATE_FILE
from rayloop.platform.errors import InvalidInput, NotFound
from rayloop.platform.state import Run

Git = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a project in a folder of it: committed, changed and unknown files."""
    root = tmp_path / "checkout"
    project = root / "models/churn"
    project.mkdir(parents=True)
    git(root, "init", "-q")
    (root / "other.py").write_text("not of the project\n")
    (project / "task.py").write_text("x = 1\n")
    (project / "latin.py").write_bytes(b"# caf\xe9\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    (project / "task.py").write_text("x = 2\n")
    (project / "latin.py").write_bytes(b"# caf\xe9, na\xefve\n")
    (project / "added.py").write_text("y = 1\n")
    (project / "notes.txt").write_text("no code\n")
    (project / ".gitignore").write_text("ignored.py\n")
    (project / "ignored.py").write_text("z = 1\n")
    return root


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run_of(store: Store, folder: Path) -> Run:
    return Run("k", "churn", "train", tags={"rayloop.code": bundle_code(folder, store)})


def test_git_gives_what_ran_byte_for_byte(root: Path, store: Store, tmp_path: Path) -> None:
    run = run_of(store, root / "models/churn")
    (root / "models/churn/task.py").write_text("x = 3  # later\n")
    git(root, "commit", "-q", "-a", "-m", "later")
    rebuilt = rebuild_code(store, run, root, tmp_path)
    assert (rebuilt.folder / "task.py").read_text() == "x = 2\n"
    assert (rebuilt.folder / "latin.py").read_bytes() == b"# caf\xe9, na\xefve\n"
    assert (rebuilt.folder / "added.py").read_text() == "y = 1\n"
    commit = git(root, "rev-parse", "HEAD~1")[:12]
    assert rebuilt.notes[0] == (
        f"commit {commit} with its uncommitted difference and 2 file(s) that git does not know, "
        f"which is byte for byte the bundle {run.code[:12]} that ran"
    )
    assert rebuilt.notes[1] == "untracked then, and not kept: .gitignore, notes.txt"
    assert git(root, "worktree", "list").count("\n") == 0
    assert not (tmp_path / "worktree").exists()


def test_a_person_s_own_git_settings_change_nothing(
    root: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[diff]\nnoprefix = true\nrelative = true\n[color]\nui = always\n[core]\nquotePath = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    rebuilt = rebuild_code(store, run_of(store, root / "models/churn"), root, tmp_path)
    assert "byte for byte" in rebuilt.notes[0]


def test_without_the_commit_the_kept_files_are_used(root: Path, store: Store, tmp_path: Path) -> None:
    run = run_of(store, root / "models/churn")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rebuilt = rebuild_code(store, run, elsewhere, tmp_path)
    assert f"is not in the checkout around {elsewhere}" in rebuilt.notes[0]
    assert rebuilt.notes[0].startswith("the kept files of commit ")
    assert (rebuilt.folder / "task.py").read_text() == "x = 2\n"


def test_another_history_is_told(root: Path, store: Store, tmp_path: Path) -> None:
    project = root / "models/churn"
    (project / "task.py").write_text("x = 1\n")
    (project / "latin.py").write_bytes(b"# caf\xe9\n")
    bundle = tmp_path / "bundled"
    bundle.mkdir()
    (bundle / "task.py").write_text("x = 4  # changed after the state was taken\n")
    (bundle / "added.py").write_text("y = 1\n")
    (bundle / STATE_FILE).write_text(json.dumps(code_state(project)))
    rebuilt = rebuild_code(store, run_of(store, bundle), root, tmp_path)
    assert "git gives others for commit" in rebuilt.notes[0]
    assert (rebuilt.folder / "task.py").read_text().startswith("x = 4")


def test_a_project_outside_git_has_its_kept_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/task.py").write_text("x = 1\n")
    rebuilt = rebuild_code(store, run_of(store, tmp_path / "p"), tmp_path, tmp_path)
    assert "they were in no git checkout" in rebuilt.notes[0]
    assert (rebuilt.folder / "task.py").read_text() == "x = 1\n"


def test_code_that_was_changed_or_never_kept_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/task.py").write_text("x = 1\n")
    run = run_of(store, tmp_path / "p")
    path = Path(store.path(f"code/{run.code}.zip"))
    path.write_bytes(path.read_bytes().replace(b"x = 1", b"x = 2"))
    with pytest.raises(InvalidInput, match="was changed after it was made"):
        rebuild_code(store, run, tmp_path, tmp_path)
    with pytest.raises(NotFound, match="run k kept no code"):
        rebuild_code(store, Run("k", "churn", "train"), tmp_path, tmp_path)
